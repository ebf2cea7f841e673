document.documentElement.classList.add("js");

// A header's button sorts its table: numbers by data-key, names as text, rows without a value last.
function sort(button) {
  const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
  const place = [...head.parentNode.children].indexOf(head);
  const up = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("number"));
  const key = row => row.children[place].dataset.key ?? row.children[place].textContent.trim();
  const numeric = head.classList.contains("number");
  const compare = (a, b) => {
    const x = key(a), y = key(b);
    if (x === "" || y === "") return (x === "") - (y === "");
    return (up ? 1 : -1) * (numeric ? x - y : x.localeCompare(y, "en"));
  };
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort(compare));
}

function filter(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, all = 0;
  for (const board of document.querySelectorAll(".board")) {
    const about = board.querySelector("summary").textContent.toLowerCase();
    let here = 0;
    for (const row of board.querySelectorAll("table.ranking tbody tr")) {
      const text = about + " " + row.textContent.toLowerCase();
      row.hidden = !wanted.every(word => text.includes(word));
      here += !row.hidden;
      all += 1;
    }
    board.hidden = wanted.length > 0 && here === 0;
    shown += here;
  }
  document.querySelector("#found").textContent = wanted.length ? `${shown} of ${all} rows` : "";
}

const saver = document.querySelector("#csv");
if (saver) saver.addEventListener("click", () => saveCsv([...document.querySelectorAll("table.ranking")].flatMap(table =>
  linesOf(table, {ranking: table.closest(".board").querySelector("h2").textContent})), "leaderboard.csv"));

for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));
const box = document.querySelector("#filter");
if (box) box.addEventListener("input", () => filter(box.value));

// A link to a folded row or ranking unfolds it, and what it lies in.
function unfold() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target || target.tagName !== "DETAILS") return;
  for (let one = target; one; one = one.parentElement.closest("details")) one.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();
