// Fills the page with live runs. Whatever a run says is put in as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const TONES = { SUCCESS: "good", FAILURE: "bad", FAILED: "bad", CANCELLED: "warn", IN_PROGRESS: "info" };
const rows = new Map();
let chosen = null;
let source = null;

function node(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function setText(place, text) {
  const wanted = text ?? "";
  if (place.textContent !== wanted) place.textContent = wanted;
}

function showStatus(badge, run) {
  badge.className = "badge " + (run.passedOver ? "warn" : TONES[run.status] ?? "");
  setText(badge, run.passedOver || run.status.replace("_", " ").toLowerCase());
}

function duration(run) {
  if (run.passedOver) return "–";
  const seconds = run.seconds ?? (Date.now() - Date.parse(run.createdAt)) / 1000;
  return Math.max(0, seconds).toFixed(1) + " s";
}

// ── the table ────────────────────────────────────────────────────────────────────────────────────

function newRow(run) {
  const row = node("tr");
  row.tabIndex = 0;
  const cells = ["mono", "", "soft", "", "num", "num", "num"].map((name) => node("td", name));
  cells[0].textContent = run.id.length > 14 ? run.id.slice(0, 13) + "…" : run.id;
  cells[0].title = run.id;
  cells[3].append(node("span", "badge"), node("span", "label"));
  row.append(...cells);
  row.addEventListener("click", () => choose(run.id));
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(run.id); });
  byId("runs").prepend(row);
  return row;
}

function showRows(runs) {
  for (const run of runs) {
    if (!rows.has(run.id)) rows.set(run.id, { row: newRow(run) });
    const entry = rows.get(run.id);
    entry.run = run;
    const cells = entry.row.children;
    setText(cells[1], run.title);
    setText(cells[2], run.executor);
    showStatus(cells[3].firstChild, run);
    setText(cells[3].lastChild, run.label);
    setText(cells[4], duration(run));
    setText(cells[5], String(run.logLines));
    setText(cells[6], String(run.requests));
    entry.row.setAttribute("aria-selected", String(run.id === chosen));
  }
  byId("no-runs").hidden = runs.length > 0;
  const going = runs.filter((run) => run.going).length;
  setText(byId("run-count"), runs.length ? `${runs.length}${going ? `, ${going} in progress` : ""}` : "");
}

// ── the chosen run ───────────────────────────────────────────────────────────────────────────────

function choose(id) {
  chosen = id;
  listen();
}

function link(url) {
  if (!/^https?:\/\//i.test(url)) return node("div", "mono", url);
  const anchor = node("a", "", url);
  anchor.href = url;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer";
  const line = node("div");
  line.append(anchor);
  return line;
}

function entity(write) {
  const line = node("div");
  line.append(node("span", "badge", write.verb), " ", node("b", "", `${write.blueprint}/${write.identifier} `));
  const { identifier, blueprint, ...rest } = write.body;
  if (Object.keys(rest).length) line.append(node("span", "mono soft", JSON.stringify(rest)));
  return line;
}

function facts(run) {
  const shown = [["Run", [node("div", "mono", run.id)]]];
  const value = (thing) => [node("div", "mono", typeof thing === "string" ? thing : JSON.stringify(thing))];
  if (run.route) shown.push(["Route", value(run.route)]);
  if (run.entity) shown.push(["Entity", value(run.entity)]);
  if (Object.keys(run.inputs).length) shown.push(["Inputs", value(run.inputs)]);
  if (run.links.length) shown.push(["Links", run.links.map(link)]);
  if (run.entities.length) shown.push(["Entities", run.entities.map(entity)]);
  if (run.externalRunId) shown.push(["External id", value(run.externalRunId)]);
  if (run.output) shown.push(["Output", value(run.output)]);
  if (run.response) shown.push(["Response", value(run.response)]);
  return shown;
}

function showRun(run) {
  if (run.id !== chosen) return;
  byId("run").hidden = false;
  setText(byId("run-title"), run.title);
  showStatus(byId("run-status"), run);
  setText(byId("run-label"), run.label);
  setText(byId("run-summary"), run.summary);
  const list = byId("run-facts");
  list.replaceChildren();
  for (const [name, values] of facts(run)) {
    const place = node("dd");
    place.append(...values);
    list.append(node("dt", "", name), place);
  }
  showLog(run);
  showMessage(run);
}

// The message is fetched once: it does not change.
async function showMessage(run) {
  if (byId("message").dataset.run === run.id) return;
  byId("message").dataset.run = run.id;
  byId("run-message").textContent = "";
  const place = "/message?run=" + encodeURIComponent(run.id);
  byId("download-message").href = place;
  const answer = await fetch(place);
  byId("message").hidden = !answer.ok;
  if (!answer.ok) return;
  const text = JSON.stringify(await answer.json(), null, 2);
  if (run.id === chosen) byId("run-message").textContent = text;
}

byId("copy-message").addEventListener("click", async () => {
  const button = byId("copy-message");
  try {
    await navigator.clipboard.writeText(byId("run-message").textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("run-message"));
    button.textContent = "Selected: copy it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

function showLog(run) {
  const log = byId("run-log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  if (run.fromLine === 0) log.replaceChildren();
  for (const line of run.log) log.append(node("span", line.level, line.text.replace(/\n?$/, "\n")));
  if (run.log.length && (atEnd || run.fromLine === 0)) log.scrollTop = log.scrollHeight;
}

// ── the routes file ──────────────────────────────────────────────────────────────────────────────

const own = byId("own-action").elements;
let suggestions = new Map();

// Puts a suggestion into a field that the visitor has not changed.
function fill(field, value) {
  if (field.value !== (field.dataset.filled ?? field.defaultValue)) return;
  field.dataset.filled = field.value = value;
}

function fillFor(action) {
  const one = suggestions.get(action);
  if (!one) return;
  fill(own.blueprint, one.blueprint);
  fill(own.entity, one.entity);
  fill(own.inputs, JSON.stringify(one.inputs, null, 2));
  own.shape.value = one.shape;
  aboutShape();
}

function aboutShape() {
  setText(byId("shape-about"), own.shape.selectedOptions[0].dataset.about);
}

function showRoutes(routes) {
  byId("routes-refused").hidden = !routes.problems.length;
  setText(byId("routes-problems"), routes.problems.join("\n"));
  const before = JSON.stringify([...suggestions.values()]);
  if (before === JSON.stringify(routes.suggestions)) return;
  suggestions = new Map(routes.suggestions.map((one) => [one.action, one]));
  byId("own-actions").replaceChildren(...routes.suggestions.map((one) => {
    const option = node("option");
    option.value = one.action;
    return option;
  }));
  if (routes.suggestions.length) fill(own.action, routes.suggestions[0].action);
  fillFor(own.action.value);
}

own.action.addEventListener("input", () => fillFor(own.action.value));
own.shape.addEventListener("change", aboutShape);

// ── the connection ───────────────────────────────────────────────────────────────────────────────

function listen() {
  source?.close();
  source = new EventSource("/events" + (chosen ? "?run=" + encodeURIComponent(chosen) : ""));
  source.addEventListener("routes", (event) => showRoutes(JSON.parse(event.data)));
  source.addEventListener("runs", (event) => showRows(JSON.parse(event.data)));
  source.addEventListener("run", (event) => showRun(JSON.parse(event.data)));
  source.addEventListener("open", () => connection("live", "good"));
  source.addEventListener("error", () => connection("disconnected", "bad"));
}

function connection(text, tone) {
  const badge = byId("connection");
  badge.className = "badge " + tone;
  badge.textContent = text;
}

// Starts a run and gives its id; what went wrong is shown at `problem`.
async function invoke(order, problem) {
  setText(problem, "");
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch("/invoke", { method: "POST", headers, body: JSON.stringify(order) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.problem);
    return told.run;
  } catch (error) {
    setText(problem, error.message);
  }
}

function order(form) {
  const fields = Object.fromEntries(new FormData(form));
  if (form.id !== "own-action") return { action: form.dataset.action, inputs: fields };
  return { ...fields, own: true, inputs: JSON.parse(fields.inputs) };
}

async function start(form) {
  const problem = form.querySelector(".problem");
  try {
    return await invoke(order(form), problem);
  } catch (error) {
    setText(problem, "The inputs are not JSON: " + error.message);
  }
}

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const run = await start(form);
    if (run) choose(run);
  });
}

byId("start-all")?.addEventListener("click", async () => {
  const runs = [];
  for (const form of document.querySelectorAll("form[data-action]")) runs.push(await start(form));
  if (runs[0]) choose(runs[0]);
});

setInterval(() => {
  for (const { row, run } of rows.values()) if (run.going) setText(row.children[4], duration(run));
}, 100);
listen();
