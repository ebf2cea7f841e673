// The page is complete without this script: it sorts, filters, switches the theme and opens what a link points to.
document.documentElement.classList.add("js");

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
function remembered() {
  try { return localStorage.getItem("robench-theme"); } catch { return null; }  // storage may be refused to files
}
function paint(choice) {
  const isDark = choice ? choice === "dark" : dark.matches;
  if (choice) document.documentElement.dataset.theme = choice;
  theme.setAttribute("aria-pressed", String(isDark));
}
theme.addEventListener("click", () => {
  const choice = theme.getAttribute("aria-pressed") === "true" ? "light" : "dark";
  try { localStorage.setItem("robench-theme", choice); } catch { /* it lasts as long as the page */ }
  paint(choice);
});
dark.addEventListener("change", () => paint(remembered()));
paint(["light", "dark"].includes(remembered()) ? remembered() : null);

const table = document.getElementById("table");
const rows = [...table.tBodies[0].rows];
const heads = [...table.tHead.rows[0].cells];
const valueOf = (row, column) => row.cells[column].dataset.v;

function sort(column) {
  const head = heads[column];
  const numeric = head.matches(".number, .score");
  // Numbers are read for their largest first, except ranks; a second click turns the order round.
  const first = numeric && head.textContent.trim() !== "rank" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  heads.forEach(cell => cell.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const ordered = [...rows].sort((a, b) => {
    const [x, y] = [valueOf(a, column), valueOf(b, column)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what is missing stays last
    return sign * (numeric ? x - y : x.localeCompare(y, "en", {numeric: true}));
  });
  table.classList.add("sorted");
  table.tBodies[0].append(...ordered);
}
heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => sort(column));
});

const find = document.getElementById("find");
const selects = [...document.querySelectorAll("#filters select")];
const count = document.getElementById("count");
function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = words.every(word => text.includes(word)) && selects.every(select =>
      !select.value || row.cells[select.dataset.column].textContent.includes(select.value));
    row.hidden = !fits;
    shown += fits;
  }
  count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
}
document.getElementById("csv").addEventListener("click", () => saveCsv(linesOf(table), "results.csv"));
document.getElementById("json").addEventListener("click", () => saveJson(linesOf(table), "results.json"));
find.addEventListener("input", filter);
selects.forEach(select => select.addEventListener("change", filter));

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", reveal);
reveal();
