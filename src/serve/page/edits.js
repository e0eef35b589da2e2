// Edits of the graph: the last one's receipt with what it changed, why one was refused, and the way back.

const milliseconds = (us) => `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;

function line(kind, text, className) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Why an edit was made. */
function cause(receipt) {
  if (receipt.cause === "edit") return "edited";
  if (receipt.cause === "rollback") return "taken back";
  if (receipt.cause.engine) return receipt.cause.engine;
  return `taken back by itself: ${receipt.cause.automatic}`;
}

function receiptOf(receipt) {
  const card = document.createElement("div");
  const when = new Date(receipt.time_ns / 1e6).toLocaleTimeString();
  card.append(line("p", `Version ${receipt.version}, ${when}: ${cause(receipt)}. Applied in ${milliseconds(receipt.applied_us)}, `
    + `${receipt.lost} frames lost, ${receipt.doubled} doubled, longest pause ${milliseconds(receipt.longest_gap_us)}.`));
  const changed = receipt.changes.filter((change) => change.action !== "kept");
  const kept = receipt.changes.length - changed.length;
  const table = document.createElement("table");
  table.createCaption().textContent = `What changed; ${kept} parts were kept as they are`;
  for (const change of changed) {
    const row = table.insertRow();
    row.insertCell().textContent = `${change.part} ${change.node}`;
    row.insertCell().append(line("span", change.action, `action ${change.action}`));
    row.insertCell().textContent = change.why;
  }
  card.append(table);
  return card;
}

function refusalOf(refused) {
  const card = document.createElement("div");
  card.append(line("p", "The last edit was not made; what ran before runs on.", "bad"), line("pre", refused.error.trim()));
  if (refused.remedy) card.append(line("p", refused.remedy, "note"));
  return card;
}

export class Edits {
  constructor(place, button, said) {
    Object.assign(this, { place, button, said, shown: "" });
    button.addEventListener("click", () => this.rollback());
  }

  show(reloads) {
    const last = reloads.receipts.at(-1);
    const key = JSON.stringify([reloads.version, last?.version, reloads.refused]);
    if (key === this.shown) return;
    this.shown = key;
    const parts = [];
    if (reloads.refused) parts.push(refusalOf(reloads.refused));
    parts.push(last ? receiptOf(last) : line("p", "The graph is as it was when the run began.", "note"));
    this.place.replaceChildren(...parts);
    this.button.hidden = !last;
    this.said.textContent = "";
  }

  async rollback() {
    this.button.disabled = true;
    try {
      const answer = await fetch("/api/rollback", { method: "POST" });
      const said = await answer.json();
      this.said.textContent = answer.ok ? "taken back" : `${said.error}${said.remedy ? `: ${said.remedy}` : ""}`;
    } catch (trouble) {
      this.said.textContent = `no answer: ${trouble.message}`;
    }
    this.button.disabled = false;
  }
}
