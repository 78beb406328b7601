"use strict";

// Tables: a header sorts the rows of every group; what has no value stays last.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), table = button.closest("table"), column = header.cellIndex;
    const first = column && !button.textContent.includes("↓") ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = header.getAttribute("aria-sort") === first ? other : first;
    for (const th of table.tHead.rows[0].cells) th.setAttribute("aria-sort", th === header ? order : "none");
    const value = ({ cells: { [column]: { dataset: { value, relative = value } } } }) => parseFloat(isRelative() ? relative : value);
    const sign = order === "ascending" ? 1 : -1;
    const text = (a, b) => sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
    const compare = (a, b) =>
      isNaN(value(a)) - isNaN(value(b)) || (isNaN(value(a)) ? text(a, b) : sign * (value(a) - value(b)));
    for (const body of table.tBodies) {
      body.append(...[...body.rows].filter((row) => !row.classList.contains("group")).sort(compare));
    }
  });
}

// Where rows are too long for the window, each deviation and interval stands under its number.
const fit = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const tables = [...target.querySelectorAll("table")];
    for (const { classList } of tables) classList.replace("stacked", "single") || classList.add("single");
    const wide = tables.filter((table) => table.offsetWidth > target.clientWidth);
    for (const { classList } of wide) classList.replace("single", "stacked");
  }
});
for (const region of document.querySelectorAll("figure.table .scroll")) fit.observe(region);

// A title folds its rows away; the script folds some at first, so that all are there without it.
for (const button of document.querySelectorAll(".fold")) {
  const body = button.closest("tbody");
  const fold = (closed) => {
    body.classList.toggle("closed", closed);
    button.setAttribute("aria-expanded", !closed);
  };
  fold("folded" in body.dataset);
  button.addEventListener("click", () => fold(!body.classList.contains("closed")));
}

// Print shows what is folded up, and the drawn figures in place of the interactive ones.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

const data = JSON.parse(document.getElementById("data").textContent);
const byName = new Map(data.methods.map((method) => [method.name, method]));
const explorer = document.getElementById("explorer");
const [dataset, metric, spread, scores] = ["dataset", "metric", "spread", "scores"].map((id) => document.getElementById(id));
const [charts, matrices, confused] = ["charts", "matrices", "confused"].map((id) => document.getElementById(id));
const boxes = [...explorer.querySelectorAll("#methods input")];
const chosen = () => data.datasets[dataset.value];

function element(namespace, tag, attributes, ...children) {
  const made = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const html = (...parts) => element("http://www.w3.org/1999/xhtml", ...parts);
const svg = (...parts) => element("http://www.w3.org/2000/svg", ...parts);

const number = (value, m) => (value === null ? "–" : value.toFixed(isRelative() ? 1 : m.percent ? 2 : 3));

const isRelative = () => scores.value === "relative";

// The parts of a region as tabs, one shown at a time. Without the script, and on paper, all follow each other.
// A search in the page finds hidden parts, too, and opens them.
function tabs(region) {
  const parts = [...region.children];
  const buttons = parts.map((part, i) => {
    part.id = `${region.id}-part-${i}`;
    part.setAttribute("role", "tabpanel");
    part.setAttribute("aria-labelledby", `${region.id}-tab-${i}`);
    part.addEventListener("beforematch", () => show(i));
    const button = html("button", { type: "button", role: "tab", id: `${region.id}-tab-${i}`, "aria-controls": part.id }, part.dataset.tab);
    button.addEventListener("click", () => show(i));
    return button;
  });
  function show(at) {
    region.dataset.shown = parts[at].dataset.tab;
    parts.forEach((part, i) => {
      buttons[i].setAttribute("aria-selected", i === at);
      buttons[i].tabIndex = i === at ? 0 : -1;
      if (i === at) part.removeAttribute("hidden"); else part.setAttribute("hidden", "until-found");
    });
  }
  const bar = html("div", { class: "tablist", role: "tablist", "aria-label": region.dataset.label }, ...buttons);
  bar.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(event.target), last = buttons.length - 1;
    const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at ? at - 1 : last, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(next);
    buttons[next].focus();
  });
  region.prepend(bar);
  show(Math.max(0, parts.findIndex((part) => part.dataset.tab === region.dataset.shown)));
}

// What a method scores at the places of a plot; or in percent of its score on complete data, if there is one.
function scored(plot, m, name) {
  const values = plot.series[m.key]?.[name], complete = chosen().complete[m.key]?.[name];
  if (!isRelative()) return values;
  return values && complete ? values.map((v) => v.map((part) => (part === null ? null : 100 * part / complete))) : null;
}

// The ends of what the band shows: around a mean, or the interval; null where there is none.
function ends([mean, std, low, high]) {
  if (spread.value === "interval") return low === null ? null : [low, high];
  return spread.value === "std" && mean !== null && std !== null ? [mean - std, mean + std] : null;
}

function estimate(values, m) {
  const band = ends(values), mean = number(values[0], m);
  if (!band) return mean;
  if (spread.value === "interval") return `${mean} [${number(band[0], m)}, ${number(band[1], m)}]`;
  return `${mean} ± ${number(values[1], m)}`;
}

function line(points, style, closed = "") {
  const d = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("") + closed;
  return svg("path", { d, ...style });
}

function mark(method, x, y, title = "", size = 8.5) {
  const made = svg("path", { class: "mark", d: method.marker, fill: method.colour });
  made.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size})`);
  if (title) made.append(svg("title", {}, title));
  return made;
}

// What stands for a method beside its name.
function sample(method) {
  const stroke = { fill: "none", stroke: method.colour, "stroke-width": 2, "stroke-dasharray": method.dash };
  const parts = [line([[1, 7], [31, 7]], stroke)];
  if (method.marker) parts.push(mark(method, 16, 7));
  return svg("svg", { class: "sample", width: 32, height: 14, "aria-hidden": "true" }, ...parts);
}

function ticks(low, high) {
  const raw = (high - low || Math.abs(high) || 1) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => ({ at: (first + i) * step, text: ((first + i) * step).toFixed(decimals) }));
}

// Draw one plot into its SVG, `width` pixels wide; gives the x of every place.
function draw(root, plot, series, m, width) {
  const height = Math.min(340, 180 + width / 4), left = 46, right = 14, top = 10;
  const words = plot.places.map((name) => String(name).split("+")), below = plot.below ? plot.others : [];
  const first = Math.max(...words.map((all) => all.length)), second = Math.max(0, ...below.map((all) => all.length));
  const bottom = 29 + 13 * first + (second ? 8 + 13 * second : 0);
  const extent = series.flatMap(({ values }) => values.flatMap((v) => [v[0], ...(ends(v) || [])])).filter((v) => v !== null);
  const yTicks = ticks(extent.length ? Math.min(...extent) : 0, extent.length ? Math.max(...extent) : 1);
  const [low, high] = [yTicks[0].at, yTicks.at(-1).at];
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const inner = width - left - right, count = plot.places.length;
  const [start, end] = [plot.places[0], plot.places[count - 1]];
  const place = (i) => left + inner * (!plot.level ? (i + 0.5) / count : end > start ? 0.03 + 0.94 * (plot.places[i] - start) / (end - start) : 0.5);
  const parts = [];
  for (const { at, text } of yTicks) {
    parts.push(line([[left, y(at)], [width - right, y(at)]], { class: "grid" }));
    parts.push(svg("text", { x: left - 7, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  const size = inner / count < 48 && !plot.level ? "small" : "";
  const stack = (all, i, y, look) => all.forEach((word, n) => {
    const text = n < all.length - 1 ? `${word} +` : word;
    parts.push(svg("text", { x: place(i), y: y + 13 * n, "text-anchor": "middle", class: `${look} ${size}` }, text));
  });
  words.forEach((all, i) => stack(all, i, height - bottom + 18, plot.level ? "" : "lost"));
  below.forEach((all, i) => stack(all, i, height - bottom + 26 + 13 * first, "left"));
  const under = plot.below ? `${plot.x} (above) and ${plot.below} (below)` : plot.x;
  parts.push(svg("text", { x: left + inner / 2, y: height - 5, "text-anchor": "middle", class: "axis" }, under));
  parts.push(line([[0, top], [0, height - bottom]], { class: "rule" }));
  series.forEach(({ method, values }, n) => {
    const floor = method.name === data.floor;
    const shift = plot.level || floor || series.length < 2 ? 0 : ((n + 0.5) / series.length - 0.5) * 0.7 * inner / count;
    const points = values.map((v, i) => [place(i) + shift, v[0] === null ? null : y(v[0])]);
    const stroke = { fill: "none", stroke: method.colour, "stroke-width": 2, "stroke-dasharray": method.dash };
    const group = svg("g", { class: "series", "data-method": method.name });
    const band = values.map(ends);
    if (plot.level) {
      const known = band.flatMap((b, i) => (b ? [i] : []));
      const edge = [...known.map((i) => [place(i), y(band[i][1])]), ...known.reverse().map((i) => [place(i), y(band[i][0])])];
      if (edge.length > 2) group.append(line(edge, { class: "band", fill: method.colour }, "Z"));
      // A value that is not defined interrupts the curve.
      for (let i = 0, run = []; i <= points.length; i++) {
        if (i < points.length && points[i][1] !== null) run.push(points[i]);
        else { if (run.length > 1) group.append(line(run, { class: "curve", ...stroke })); run = []; }
      }
    } else {
      points.forEach(([x, at], i) => {
        if (band[i]) group.append(line([[x, y(band[i][0])], [x, y(band[i][1])]], { class: "bar", stroke: method.colour }));
        const half = 0.42 * inner / count;
        if (floor && at !== null) group.append(line([[x - half, at], [x + half, at]], { class: "curve", ...stroke }));
      });
    }
    points.forEach(([x, at], i) => {
      const where = plot.names ? plot.names[i] : `${plot.x} ${plot.places[i]}`;
      const title = `${method.name}, ${where}: ${estimate(values[i], m)}`;
      if (method.marker && at !== null) group.append(mark(method, x, at, title, width < 420 ? 6.5 : 8.5));
    });
    parts.push(group);
  });
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.setAttribute("height", height);
  root.replaceChildren(...parts);
  return plot.places.map((_, i) => place(i));
}

// A plot with a rule that follows the pointer or the arrow keys, and the values there, best first.
function chart(plot, m) {
  const series = data.methods
    .filter(({ name }) => boxes.find((box) => box.value === name).checked)
    .map((method) => ({ method, values: scored(plot, m, method.name) }))
    .filter(({ values }) => values);
  const root = svg("svg", { "aria-hidden": "true", width: "100%" });
  const slider = html("div", { class: "pane", role: "slider", tabindex: 0, "aria-valuemin": 0 }, root);
  slider.setAttribute("aria-label", `${m.name}, ${plot.title}: values at`);
  slider.setAttribute("aria-valuemax", plot.places.length - 1);
  const values = html("div", { class: "values" });
  let xs = [], at = Math.floor(plot.places.length / 2);
  function show(i) {
    at = Math.max(0, Math.min(plot.places.length - 1, i));
    const where = plot.names ? plot.names[at] : `${plot.x.replace(/ [a-z]$/, "")} ${plot.places[at]}`;
    const sign = m.better === "lower" ? 1 : -1;
    const rows = series.map((s) => ({ method: s.method, values: s.values[at] }));
    const rank = (row) => (row.values[0] === null ? Infinity : sign * row.values[0]);
    rows.sort((a, b) => rank(a) - rank(b) || 0);
    root.querySelector(".rule")?.setAttribute("transform", `translate(${xs[at]} 0)`);
    slider.setAttribute("aria-valuenow", at);
    slider.setAttribute("aria-valuetext", `${where}: ${rows.map((r) => `${r.method.name} ${estimate(r.values, m)}`).join("; ") || "nothing"}`);
    const items = rows.map((row) => {
      const item = html("li", {}, sample(row.method), html("span", {}, row.method.name), html("b", {}, estimate(row.values, m)));
      item.addEventListener("pointerenter", () => highlight(row.method.name));
      item.addEventListener("pointerleave", () => highlight(null));
      return item;
    });
    values.replaceChildren(html("p", {}, where), html("ol", {}, ...items));
  }
  function highlight(name) {
    for (const group of root.querySelectorAll(".series")) {
      group.classList.toggle("faint", name !== null && group.dataset.method !== name);
    }
  }
  const point = (event) => {
    const x = event.clientX - root.getBoundingClientRect().left;
    const near = xs.reduce((best, here, i) => (Math.abs(here - x) < Math.abs(xs[best] - x) ? i : best), 0);
    if (near !== at) show(near);
  };
  slider.addEventListener("pointermove", point);
  slider.addEventListener("pointerdown", point);
  slider.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    show(at + steps[event.key]);
  });
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (!width) return;
    xs = draw(root, plot, series, m, width);
    show(at);
  }).observe(slider);
  const unit = isRelative() ? " (% of the score on complete data)" : m.percent ? " (%)" : "";
  return html("figure", { class: "chart" }, html("figcaption", {}, html("b", {}, plot.title), ` – ${m.name}${unit}`), slider, values);
}

function matrix({ labels, level, counts }) {
  const head = html("tr", {}, html("td", {}), ...labels.map((label) => html("th", { scope: "col" }, label)));
  const rows = counts.map((line, i) => {
    const total = line.reduce((sum, count) => sum + count, 0);
    const cells = line.map((count) => {
      const share = total ? count / total : 0;
      const title = `${labels[i]} predicted as: ${(100 * share).toFixed(1)} %`;
      const cell = html("td", { style: `--share: ${(100 * share).toFixed(1)}%`, title }, count);
      cell.classList.toggle("full", share > 0.5);
      return cell;
    });
    return html("tr", {}, html("th", { scope: "row" }, labels[i]), ...cells);
  });
  const table = html("table", {}, html("caption", {}, `r = ${level}, ${labels.length} classes`), html("thead", {}, head), html("tbody", {}, ...rows));
  return html("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `Confusion matrix at r = ${level} of ${labels.length} classes` }, table);
}

function options(select, entries, kept) {
  select.replaceChildren(...entries.map(([value, text]) => html("option", { value }, text)));
  select.value = entries.some(([value]) => value === kept) ? kept : (entries[0] || [""])[0];
}

// Show the cells of tables that can be so in percent of complete data, or as they were written.
function view() {
  for (const figure of document.querySelectorAll("figure.table")) {
    const cells = figure.querySelectorAll("td[data-relative]");
    figure.querySelector(".view").hidden = !isRelative() || !cells.length;
    for (const cell of cells) {
      cell.written ??= [...cell.childNodes];
      const share = `${(100 * cell.dataset.relative).toFixed(1)}\u00a0%`;
      cell.replaceChildren(...(isRelative() ? [share] : cell.written));
    }
  }
}

function drawMatrices() {
  const all = chosen().confusions[confused.value] || [];
  const sizes = [...new Set(all.map(({ labels }) => labels.length))];
  const lines = sizes.map((size) => all.filter(({ labels }) => labels.length === size).map(matrix));
  document.getElementById("confusions").hidden = !all.length;
  matrices.replaceChildren(...lines.map((line) => html("div", { class: "line" }, ...line)));
}

function drawCharts() {
  const m = chosen().metrics.find(({ key }) => key === metric.value);
  const plots = m ? chosen().plots : [];
  const parts = [...new Set(plots.map(({ kind }) => kind))].map((kind) => {
    const drawn = plots.filter((plot) => plot.kind === kind).map((plot) => chart(plot, m));
    return html("div", { "data-tab": kind }, ...drawn);
  });
  charts.replaceChildren(...parts);
  if (parts.length > 2) tabs(charts);
}

function change() {
  options(metric, chosen().metrics.map(({ key, name }) => [key, name]), metric.value);
  options(confused, chosen().ranked.filter((name) => chosen().confusions[name]).map((name) => [name, name]), confused.value);
  spread.querySelector("[value=interval]")?.toggleAttribute("disabled", !chosen().intervals);
  if (!chosen().intervals && spread.value === "interval") spread.value = "std";
  for (const mark of explorer.querySelectorAll("[data-mark]")) mark.hidden = mark.dataset.mark !== chosen().name;
  drawCharts();
  drawMatrices();
}

function check(names) {
  for (const box of boxes) box.checked = names.includes(box.value);
}

const best = () => [...chosen().ranked.filter((name) => name !== data.floor).slice(0, 6), data.floor];
for (const box of boxes) {
  box.after(sample(byName.get(box.value)));
  box.addEventListener("change", drawCharts);
}
scores.addEventListener("change", () => { drawCharts(); view(); });
for (const select of [metric, spread]) select.addEventListener("change", drawCharts);
dataset.addEventListener("change", change);
confused.addEventListener("change", drawMatrices);
document.getElementById("best").addEventListener("click", () => { check(best()); drawCharts(); });
document.getElementById("every").addEventListener("click", () => { check(boxes.map((box) => box.value)); drawCharts(); });
check(best());
explorer.hidden = false;
document.querySelectorAll(".tabs").forEach(tabs);
view();
for (const details of document.querySelectorAll("details.drawn")) details.open = false;
change();
