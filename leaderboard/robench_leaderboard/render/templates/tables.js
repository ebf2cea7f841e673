"use strict";
// What pages with tables share: a hint where one is wider than its box, and a table's shown rows as CSV.
for (const box of document.querySelectorAll(".scroll")) {
  const table = box.querySelector("table");
  const sizes = new ResizeObserver(() => box.classList.toggle("overflows", table.offsetWidth > box.clientWidth + 1));
  sizes.observe(box);
  sizes.observe(table);
}

function linesOf(table, first = {}) {
  const heads = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
  return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => {
    const line = {...first};
    [...row.cells].forEach((cell, place) => {
      const words = cell.textContent.trim().replace(/\s+/g, " ").replace(/^[✓?✕] /, "");
      const interval = words.match(/^([-+]?[\d.]+) \[([-+]?[\d.]+), ([-+]?[\d.]+)\]/);
      line[heads[place]] = interval ? interval[1] : words === "-" ? "" : words;
      if (interval) [line[`${heads[place]} low`], line[`${heads[place]} high`]] = interval.slice(2);
    });
    return line;
  });
}

function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function saveJson(lines, name) {
  save(`${JSON.stringify(lines, null, 1)}\n`, name, "application/json");
}

function saveCsv(lines, name) {
  const heads = [...new Set(lines.flatMap(line => Object.keys(line)))];
  // A spreadsheet takes a text that begins with one of these for a formula, and runs it.
  const safe = text => /^[=+\-@]/.test(text) && isNaN(text) ? `'${text}` : text;
  const quoted = text => `"${safe(text).replaceAll('"', '""')}"`;
  const rows = [heads, ...lines.map(line => heads.map(head => line[head] ?? ""))];
  save(rows.map(cells => `${cells.map(quoted).join(",")}\n`).join(""), name, "text/csv");
}
