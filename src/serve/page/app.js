// The page of a run: asks for its state every second, and brings together what the run publishes.
import { Picture } from "./picture.js";
import { Counts } from "./counts.js";
import { Edits } from "./edits.js";
import { Graph } from "./graph.js";

const EVERY_MS = 1000;
const element = (id) => document.getElementById(id);
const pictures = new Map();
const graph = new Graph(element("graph"));
const edits = new Edits(element("edits"), element("rollback"), element("rollback-said"));

async function json(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function say(text, bad = false) {
  const line = element("run");
  if (line.textContent !== text) line.textContent = text;
  line.classList.toggle("bad", bad);
}

const seconds = (span) => (span < 90 ? `${Math.round(span)} s` : span < 5400 ? `${Math.round(span / 60)} min` : `${(span / 3600).toFixed(1)} h`);

function cell(row, text, className) {
  const td = row.insertCell();
  td.textContent = text;
  if (className) td.className = className;
}

function showCameras(cameras) {
  const body = document.createElement("tbody");
  for (const camera of cameras) {
    const row = body.insertRow();
    cell(row, camera.name);
    cell(row, camera.health, `state ${camera.health}`);
    cell(row, camera.fps.toFixed(1), "number");
    cell(row, camera.width ? `${camera.width} × ${camera.height}` : "");
    cell(row, String(camera.admitted), "number");
    cell(row, String(camera.shed_in_flight + camera.shed_delay + camera.shed_backlog), "number");
    cell(row, camera.last_fault ? `${camera.last_fault.cause} (${camera.faults} in all)` : "");
  }
  document.querySelector("#cameras tbody").replaceWith(body);
}

let errorsShown = "";
function showErrors(errors) {
  const key = JSON.stringify(errors);
  if (key === errorsShown) return;
  errorsShown = key;
  const items = errors.slice(-100).reverse().map((error) => {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = `${new Date(error.time_ns / 1e6).toLocaleTimeString()} `;
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = [error.node, error.camera].filter((name, at, all) => name && all.indexOf(name) === at).join(", ");
    item.append(time, where, ` ${error.cause}`);
    return item;
  });
  const none = document.createElement("li");
  none.className = "none";
  none.textContent = "none";
  element("errors").replaceChildren(...(items.length ? items : [none]));
}

/** Events come over as few connections as a browser opens to one host. */
const STREAMS_AT_MOST = 4;
const streams = new Map();

function listen(mount, take) {
  if (streams.has(mount.path) || streams.size >= STREAMS_AT_MOST) return false;
  const events = new EventSource(mount.path);
  events.addEventListener(mount.event, (event) => take(JSON.parse(event.data)));
  streams.set(mount.path, events);
  return true;
}

/** A picture for each camera with video and the boxes over it, a table for each query whose rows are published. */
function arrange(site) {
  for (const mount of site) {
    if (mount.kind === "hls" && !pictures.has(mount.path)) {
      const picture = new Picture(mount);
      pictures.set(mount.path, picture);
      element("pictures").append(picture.figure);
    }
  }
  const boxes = (frame) => pictures.forEach((picture) => picture.camera === frame.camera && picture.overlay.take(frame));
  for (const mount of site.filter((mount) => mount.kind === "sse")) {
    if (mount.event === "frame" && (mount.rows === "tracks" || mount.rows === "detections")) listen(mount, boxes);
    if (mount.event === "row") {
      const table = new Counts(mount);
      if (listen(mount, (row) => table.take(row))) element("counts").append(table.card);
    }
  }
}

async function look() {
  try {
    const [status, shown, reloads] = await Promise.all([json("/api/status"), json("/api/graph"), json("/api/reloads")]);
    const live = status.cameras.filter((camera) => camera.health === "live").length;
    const failed = status.run.failure ? `, failed: ${status.run.failure}` : "";
    document.title = `${status.run.graph} - flowrun`;
    say(`${status.run.graph}, ${status.run.state} for ${seconds(status.run.elapsed_seconds)}, ${live} of ${status.cameras.length} cameras live${failed}`,
      Boolean(failed));
    arrange(status.site);
    showCameras(status.cameras);
    showErrors(status.errors);
    pictures.forEach((picture) => picture.state(status.cameras.find((camera) => camera.name === picture.camera)));
    edits.show(reloads);
    await graph.show(shown);
  } catch (trouble) {
    say(`no answer: ${trouble.message}`, true);
  }
  setTimeout(look, EVERY_MS);
}

element("boxes").addEventListener("change", (event) => pictures.forEach((picture) => picture.showBoxes(event.target.checked)));
look();
