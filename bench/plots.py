# SPDX-License-Identifier: MIT
"""Bar charts by gnuplot, for what `make bench` measures."""
import shutil
import subprocess

HEAD = """set terminal svg size {width},{height} font "sans-serif,12" background "#ffffff"
set output "{path}"
set style data histograms
set style histogram clustered gap 1
set style fill solid 1 border -1
set boxwidth 0.9
set border 3
set tics nomirror
set grid ytics lc "#dddddd"
set yrange [0:*]
set bmargin 4
"""


def data_block(rows):
    lines = ['"' + title.replace(", ", "\\n") + '" ' + " ".join(f"{value:.4f}" for value in values)
             for title, values in rows]
    return "\n".join(lines)


def grouped(path, series, panels, more=""):
    """`series` are names and colours of the bars of a group; one panel a title, unit and rows of (group, values)."""
    bars = ", ".join(f"$data{{n}} using {i + 2}{':xtic(1)' if i == 0 else ''} title '{name}' lc rgb '{colour}'"
                     for i, (name, colour) in enumerate(series))
    script = HEAD.format(width=960, height=340 * len(panels), path=path) + more
    for n, (_, _, rows) in enumerate(panels):
        script += f"$data{n} << EOD\n{data_block(rows)}\nEOD\n"
    script += f"set multiplot layout {len(panels)},1\nset key outside right top\n"
    for n, (title, unit, rows) in enumerate(panels):
        script += f'set title "{title}"\nset xrange [-0.5:{len(rows) - 0.5}]\nset ylabel "{unit}"\nplot {bars.format(n=n)}\n'
    return script + "unset multiplot\n"


def draw(folder, scripts):
    """`scripts`: name to a function of the path that gives the script. Writes NAME.svg, or says why not."""
    if not shutil.which("gnuplot"):
        print("\n# no plots: gnuplot is not installed")
        return
    for name, script in scripts.items():
        path = folder / f"{name}.svg"
        subprocess.run(["gnuplot"], input=script(path), text=True, check=True)
        print(f"# {path}")
