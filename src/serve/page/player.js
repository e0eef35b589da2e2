// Plays a camera's stream close to live: fragments over Media Source Extensions as they are made, and where a browser
// has none, its own HLS player.

const BEHIND_S = 0.4;
/** Further behind than this, the player jumps. */
const LATE_S = 2;
const KEPT_S = 20;
const UNREAD_AT_MOST = 500;
const RETRY_MS = [500, 1000, 2000, 5000];

/** Starts playing; the result tells the event time, in milliseconds, of a media time in seconds. */
export function play(video, path) {
  const Source = window.ManagedMediaSource ?? window.MediaSource;
  if (!Source) {
    video.src = `${path}/index.m3u8`;
    return { eventTime: (mediaTime) => (video.getStartDate ? video.getStartDate().getTime() + mediaTime * 1000 : null) };
  }
  const timeline = { origin: null, eventTime: (mediaTime) => (timeline.origin === null ? null : timeline.origin + mediaTime * 1000) };
  follow(video, path, Source, timeline);
  return timeline;
}

async function follow(video, path, Source, timeline) {
  for (let failed = 0; ; ) {
    try {
      await stream(video, path, Source, timeline, () => (failed = 0));
    } catch {
      // The connection broke or the picture changed its shape: begin anew.
    }
    await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(failed++, RETRY_MS.length - 1)]));
  }
}

/** Plays one connection's fragments until it ends. A WebSocket, because a browser opens few other connections to one host. */
async function stream(video, path, Source, timeline, began) {
  const socket = new WebSocket(new URL(`${path}/stream.mp4`, location.href.replace(/^http/, "ws")));
  socket.binaryType = "arraybuffer";
  const source = new Source();
  const url = URL.createObjectURL(source);
  try {
    const messages = received(socket);
    const about = JSON.parse(await messages.next());
    if (about.status !== 200) throw new Error(`answered ${about.status}`);
    timeline.origin = Number(about.headers["flowrun-origin-ns"]) / 1e6;
    const open = new Promise((done) => source.addEventListener("sourceopen", done, { once: true }));
    video.disableRemotePlayback = true;
    video.src = url;
    await open;
    const buffer = source.addSourceBuffer(about.headers["content-type"]);
    for (let first = true; ; ) {
      await settled(buffer, (bytes) => buffer.appendBuffer(bytes), await messages.next());
      keepUp(video, buffer, first);
      if (first && buffer.buffered.length) {
        first = false;
        began();
        // A browser that refuses to start by itself shows its controls.
        video.play().catch(() => (video.controls = true));
      }
      const old = video.currentTime - KEPT_S;
      if (buffer.buffered.length && buffer.buffered.start(0) < old - KEPT_S) await settled(buffer, () => buffer.remove(0, old));
    }
  } finally {
    socket.close();
    URL.revokeObjectURL(url);
  }
}

/** The messages of a socket one after the other; an end and too many unread ones are errors. */
function received(socket) {
  const waiting = [];
  let wake = () => {};
  let over = false;
  const end = () => {
    over = true;
    wake();
  };
  socket.addEventListener("message", (event) => {
    waiting.push(event.data);
    if (waiting.length > UNREAD_AT_MOST) socket.close();
    wake();
  });
  socket.addEventListener("close", end);
  return {
    async next() {
      while (!waiting.length) {
        if (over) throw new Error("the stream ended");
        await new Promise((done) => (wake = done));
      }
      return waiting.shift();
    },
  };
}

/** Acts on a buffer and waits until it is ready for more. */
function settled(buffer, act, bytes) {
  return new Promise((done, failed) => {
    buffer.addEventListener("updateend", done, { once: true });
    buffer.addEventListener("error", () => failed(new Error("the browser cannot decode this")), { once: true });
    act(bytes);
  });
}

/** Stays a little behind the newest fragment: jumps when far away, else plays a little faster or slower. */
function keepUp(video, buffer, first) {
  const { buffered } = buffer;
  if (!buffered.length) return;
  const end = buffered.end(buffered.length - 1);
  const behind = end - video.currentTime;
  if (first || behind > LATE_S || behind < -0.1 || video.currentTime < buffered.start(0)) {
    video.currentTime = Math.max(buffered.start(buffered.length - 1), end - BEHIND_S);
    video.playbackRate = 1;
  } else {
    video.playbackRate = behind > BEHIND_S + 0.4 ? 1.1 : behind < BEHIND_S / 4 ? 0.95 : 1;
  }
}
