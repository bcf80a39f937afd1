"""What the cleaning page does in the browser: remembers marks and writes them as a CSV file."""

STYLE = """
.bar { position: sticky; top: 0; padding: .6em 0; background: Canvas; z-index: 1; }
button { font: inherit; padding: .3em .9em; }
.pair { display: flex; gap: 2px; }
.do { display: block; margin-top: 4px; }
.do select, .do input:not([type=checkbox]) { width: 100%; box-sizing: border-box; font: inherit; }
figure.changed { outline: 3px solid #d90; } figure.dropped { outline: 3px solid #d33; }
figure.dropped img { opacity: .35; }
"""

SCRIPT = r"""
"use strict";
const table = JSON.parse(document.getElementById("table").textContent);
const labels = new Map(), dropped = new Set();
let saved = true;
const fields = [...document.querySelectorAll("[data-row]")];
const boxes = [...document.querySelectorAll("[data-drop]")];
function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) || text !== text.trim() ? '"' + text.replace(/"/g, '""') + '"' : text;
}
function action(i) {
  return dropped.has(i) ? "delete" : labels.has(i) ? "relabel" : "keep";
}
function csv() {
  const rows = table.map(([file, label, part, row], i) =>
    [file, labels.has(i) ? labels.get(i) : label, part, row, action(i)].map(quoted).join(","));
  return ["file,label,part,row,action", ...rows].join("\r\n") + "\r\n";
}
function show() {
  for (const field of fields) {
    const i = Number(field.dataset.row);
    const value = labels.has(i) ? labels.get(i) : table[i][1];
    if (field.value !== value) field.value = value;
    const figure = field.closest("figure");
    figure.classList.toggle("changed", action(i) === "relabel");
    figure.classList.toggle("dropped", action(i) === "delete");
  }
  for (const box of boxes) box.checked = dropped.has(Number(box.dataset.drop));
  const told = [[labels.size, "with another label"], [dropped.size, "to delete"]].filter(([n]) => n);
  document.getElementById("count").textContent =
    told.map(([n, what]) => n + " " + what).join(", ") || "nothing marked";
}
for (const field of fields) field.addEventListener("change", () => {
  const i = Number(field.dataset.row), value = field.value.trim();
  if (value === table[i][1]) labels.delete(i); else labels.set(i, value);
  saved = false;
  show();
});
for (const box of boxes) box.addEventListener("change", () => {
  const i = Number(box.dataset.drop);
  if (box.checked) dropped.add(i); else dropped.delete(i);
  saved = false;
  show();
});
document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv;charset=utf-8"}));
  link.download = "corrections.csv";
  document.body.append(link);
  link.click();
  saved = true;
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
addEventListener("beforeunload", event => { if (!saved) event.preventDefault(); });
show();
"""
