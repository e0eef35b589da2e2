// Boxes over a picture. Each set of boxes tells the event time of its frame, and the player tells that of the picture on
// the screen: the two are brought together, however long the picture was on its way.

const KEPT_MS = 30000;
/** A picture shows the boxes of its own frame, or of one not further away than this. */
const NEAR_MS = 250;
/** CSS pixels of height from which on a box has a label. */
const LABELLED_FROM = 22;
const colours = ["#ff5252", "#40c4ff", "#69f0ae", "#ffd740", "#e040fb", "#ff9100", "#18ffff", "#b2ff59"];

export class Overlay {
  constructor(video, canvas, timeline) {
    Object.assign(this, { video, canvas, timeline, shown: true, frames: [], drawn: 0, lateMs: 0 });
    const next = video.requestVideoFrameCallback
      ? (draw) => video.requestVideoFrameCallback((_, about) => draw(about.mediaTime))
      : (draw) => requestAnimationFrame(() => draw(video.currentTime));
    const step = (mediaTime) => {
      this.draw(timeline.eventTime(mediaTime));
      next(step);
    };
    next(step);
  }

  /** Takes the boxes of a frame. */
  take(frame) {
    frame.ms = frame.time_ns / 1e6;
    [frame.width, frame.height] = frame.size;
    this.frames.push(frame);
    const oldest = frame.ms - KEPT_MS;
    while (this.frames.length && this.frames[0].ms < oldest) this.frames.shift();
  }

  nearest(ms) {
    let best = null;
    for (let at = this.frames.length - 1; at >= 0; at--) {
      const away = Math.abs(this.frames[at].ms - ms);
      if (best && away > Math.abs(best.ms - ms)) break;
      best = this.frames[at];
    }
    return best && Math.abs(best.ms - ms) <= NEAR_MS ? best : null;
  }

  draw(ms) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const newest = this.shown && ms !== null ? this.frames.at(-1) : null;
    const frame = newest ? this.nearest(ms) : null;
    // A run that has too much to do answers after the picture was shown: there is nothing to draw then, and a reason to tell.
    this.lateMs = newest && ms - newest.ms > NEAR_MS ? ms - newest.ms : 0;
    if (!frame) return;
    // The picture keeps its shape inside the element.
    const fit = Math.min(width / frame.width, height / frame.height);
    const [left, top] = [(width - frame.width * fit) / 2, (height - frame.height * fit) / 2];
    context.lineWidth = 1.5 * scale;
    context.font = `${11 * scale}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    for (const row of frame.rows) {
      const [x1, y1, x2, y2] = row.box.map((value, at) => value * fit + (at % 2 ? top : left));
      const colour = colours[(row.track ?? 0) % colours.length];
      context.strokeStyle = colour;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
      // A label larger than its box hides more than it tells.
      if (y2 - y1 < LABELLED_FROM * scale) continue;
      const label = row.track === undefined ? row.class : `${row.class} ${row.track}`;
      const wide = context.measureText(label).width + 6 * scale;
      const base = Math.max(y1, 15 * scale);
      context.fillStyle = colour;
      context.fillRect(x1, base - 14 * scale, wide, 14 * scale);
      context.fillStyle = "#000";
      context.fillText(label, x1 + 3 * scale, base - 1 * scale);
    }
    this.drawn += frame.rows.length;
    canvas.dataset.drawn = String(this.drawn);
  }
}
