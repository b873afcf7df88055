/* SPDX-License-Identifier: MIT */
/* The Java workload: Heap TEXT. Fills maps and lists to 60 % of its heap, replaces a third of it, says so and waits. */
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

public class Heap {
    record User(int id, String name, String email, String city, long created, double balance) {}

    record Item(String sku, int count, double price) {}

    static final String[] FIRST = "Ada Amir Anna Ben Chloe Daniel Elena Emma Felix Grace Hana Ivan Jakob Jana Kofi".split(" ");
    static final String[] LAST = "Adler Brandt Costa Dahl Eriksen Fischer Garcia Haas Ito Jensen Kaya Larsen Moreau".split(" ");
    static final String[] CITIES = "Aachen Bergen Cordoba Delft Esbjerg Fukuoka Ghent Hobart Izmir Jena".split(" ");

    final Random random = new Random(5);
    final String[] paragraphs;
    final Map<Integer, User> users = new HashMap<>();
    final Map<String, String> sessions = new HashMap<>();
    final TreeMap<Long, List<Item>> orders = new TreeMap<>();
    final Map<Integer, String> texts = new HashMap<>();
    final List<double[]> series = new ArrayList<>();

    Heap(String text) {
        paragraphs = text.split("\n\n");
    }

    String pick(String[] words) {
        return words[random.nextInt(words.length)];
    }

    void put(int number) {
        String name = pick(FIRST) + " " + pick(LAST);
        users.put(number, new User(number, name, name.toLowerCase().replace(' ', '.') + number + "@example.com", pick(CITIES),
                1500000000000L + random.nextInt(), random.nextGaussian() * 80 + 120));
        String id = Long.toHexString(random.nextLong()) + Long.toHexString(random.nextLong());
        sessions.put("session:" + number, "{\"sid\":\"" + id + "\",\"user\":" + number + ",\"ip\":\"192.0.2." + random.nextInt(255)
                + "\",\"cart\":[" + random.nextInt(99999) + "," + random.nextInt(99999) + "],\"dark\":" + random.nextBoolean() + "}");
        List<Item> items = new ArrayList<>();
        for (int i = random.nextInt(5); i >= 0; i--) {
            items.add(new Item("SKU-" + random.nextInt(100000), 1 + random.nextInt(4), random.nextInt(10000) / 100.0));
        }
        orders.put((long) number, items);
        if (number % 8 == 0) {
            texts.put(number, pick(paragraphs) + "\n\n" + pick(paragraphs));
            double[] values = new double[64];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextGaussian();
            }
            series.add(values);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Heap heap = new Heap(Files.readString(Path.of(arguments[0])));
        Runtime runtime = Runtime.getRuntime();
        int number = 0;
        while (runtime.totalMemory() - runtime.freeMemory() < runtime.maxMemory() * 6 / 10) {
            heap.put(number++);
        }
        for (int i = 0; i < number / 3; i++) {
            heap.put(heap.random.nextInt(number));
        }
        System.out.println("ready");
        System.in.read();
        System.out.println(heap.users.size());
    }
}
