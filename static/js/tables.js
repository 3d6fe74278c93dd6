// Sorting by any column with [data-sort], in the browser: the rows are all here. An order chosen
// stays when the table's rows are replaced by newer ones.

const chosen = new Map();

function valueOf(row, column) {
  const cell = row.cells[column];
  const given = cell.querySelector("data")?.value ?? cell.dataset.value ?? cell.textContent.trim();
  const number = given === "" || given === "—" ? Number.NEGATIVE_INFINITY : Number(given);
  return Number.isNaN(number) ? given.toLowerCase() : number;
}

function order(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((a, b) => {
    const [left, right] = [valueOf(a, column), valueOf(b, column)];
    if (typeof left !== typeof right) return typeof left === "number" ? 1 : -1;
    return left < right ? -direction : left > right ? direction : 0;
  });
  body.append(...rows);
  for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
  const heading = table.tHead.rows[0].cells[column];
  heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

function press(button) {
  const heading = button.closest("th");
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const was = heading.getAttribute("aria-sort");
  const isText = heading.dataset.sort === "text";
  const direction = was === "descending" ? 1 : was === "ascending" ? -1 : isText ? 1 : -1;
  if (table.id) chosen.set(table.id, [column, direction]);
  order(table, column, direction);
}

function keepOrders() {
  for (const [id, [column, direction]] of chosen) {
    const table = document.getElementById(id);
    if (table?.tHead?.rows[0].cells[column]) order(table, column, direction);
    else chosen.delete(id);
  }
}

export function startTables() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("th[data-sort] button");
    if (button) press(button);
  });
  document.addEventListener("htmx:afterSettle", keepOrders);
}
