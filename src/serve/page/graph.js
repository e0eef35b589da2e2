// The drawing of the graph, with live figures on its edges.

const rate = (fps) => (fps >= 100 ? fps.toFixed(0) : fps.toFixed(1));
const milliseconds = (ms) => (ms >= 100 ? ms.toFixed(0) : ms >= 1 ? ms.toFixed(1) : ms.toFixed(2));

export class Graph {
  constructor(place) {
    this.place = place;
    this.hash = null;
    this.errors = new Map();
  }

  async show(graph) {
    if (graph.plan && this.hash !== graph.plan) {
      const answer = await fetch("/api/graph.svg", { cache: "no-store" });
      const drawing = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
      this.place.replaceChildren(document.importNode(drawing, true));
      this.hash = graph.plan;
    }
    const edges = new Map(graph.edges.map((edge) => [`${edge.from}>${edge.to}`, edge]));
    for (const drawn of this.place.querySelectorAll(".edge")) {
      const edge = edges.get(`${drawn.dataset.from}>${drawn.dataset.to}`);
      if (!edge) continue;
      const latency = edge.p99_ms > 0 ? `, ${milliseconds(edge.p99_ms)} ms` : "";
      drawn.querySelector("text").textContent = `${rate(edge.rate)}/s${latency}`;
      title(drawn, `${edge.rows}: ${rate(edge.rate)} frames a second; p50 ${milliseconds(edge.p50_ms)} ms, p99 ${milliseconds(edge.p99_ms)} ms from admission`);
    }
    const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
    for (const drawn of this.place.querySelectorAll(".node")) {
      const node = nodes.get(drawn.dataset.name);
      if (!node) continue;
      drawn.classList.toggle("failing", node.errors > (this.errors.get(node.id) ?? node.errors));
      this.errors.set(node.id, node.errors);
    }
  }
}

function title(drawn, text) {
  let line = drawn.querySelector("title");
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "title");
    drawn.prepend(line);
  }
  line.textContent = text;
}
