// Plays what flowrun publishes in headless Chromium and says how it went, as JSON.
//
//   node play.mjs http://127.0.0.1:8080/live/north [SECONDS] [hls|native|stream|boxes ...]
//
// `hls`: hls.js with low latency; `native`: the browser's own HLS; `stream`: stream.mp4 by a media source; `boxes`: mp4box.js
// reads the header and each segment. Ends with 1 when something stalled, failed, or did not play.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const [base, seconds = '5', ...modes] = process.argv.slice(2);
const chosen = modes.length ? modes : ['boxes', 'stream', 'hls', 'native'];
const chromium = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .find((path) => path && existsSync(path));

/** What mp4box.js finds in the header followed by each segment of the playlist. */
async function boxes() {
  const { createFile } = await import('mp4box');
  const playlist = await (await fetch(`${base}/index.m3u8`)).text();
  const init = playlist.match(/#EXT-X-MAP:URI="([^"]+)"/)[1];
  const segments = playlist.split('\n').filter((line) => line && !line.startsWith('#'));
  const header = await (await fetch(`${base}/${init}`)).arrayBuffer();
  const found = [];
  for (const segment of segments) {
    const body = await (await fetch(`${base}/${segment}`)).arrayBuffer();
    const file = createFile();
    let samples = 0, keyframes = 0, codec = '';
    file.onError = (error) => { throw new Error(error); };
    file.onReady = (info) => {
      codec = info.tracks[0].codec;
      file.setExtractionOptions(info.tracks[0].id, null, { nbSamples: 1_000 });
      file.start();
    };
    file.onSamples = (_id, _user, list) => {
      samples += list.length;
      keyframes += list.filter((sample) => sample.is_sync).length;
    };
    const first = header.slice(0);
    first.fileStart = 0;
    file.appendBuffer(first);
    body.fileStart = header.byteLength;
    file.appendBuffer(body);
    file.flush();
    found.push({ segment, codec, samples, keyframes });
  }
  return { ok: found.length > 0 && found.every((one) => one.samples > 0 && one.keyframes > 0), found };
}

/** Runs in the page: begins to play, and keeps account. */
function begin({ mode, base }) {
  const CUSHION = 0.6;
  const video = document.querySelector('video');
  const account = { mode, stalls: [], errors: [], startup: null, began: performance.now() };
  window.account = account;
  video.muted = true;
  video.addEventListener('playing', () => { account.startup ??= performance.now() - account.began; });
  video.addEventListener('waiting', () => {
    const now = performance.now() - account.began;
    // In its first second a player still finds its place.
    if (account.startup !== null && now > account.startup + 1_000) account.stalls.push(Math.round(now));
  });
  video.addEventListener('error', () => account.errors.push(`video: ${video.error.code} ${video.error.message}`));
  if (mode === 'native') {
    video.src = `${base}/index.m3u8`;
    video.play().catch((error) => account.errors.push(String(error)));
  }
  if (mode === 'hls') {
    const hls = new Hls({ lowLatencyMode: true, liveSyncDuration: undefined });
    window.hls = hls;
    hls.on(Hls.Events.ERROR, (_event, data) => account.errors.push(`${data.type} ${data.details}${data.fatal ? ' fatal' : ''}`));
    hls.loadSource(`${base}/index.m3u8`);
    hls.attachMedia(video);
    hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch((error) => account.errors.push(String(error))));
  }
  if (mode === 'stream') {
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    source.addEventListener('sourceopen', async () => {
      try {
        const response = await fetch(`${base}/stream.mp4`);
        account.origin = Number(BigInt(response.headers.get('flowrun-origin-ns')) / 1000n) / 1000;
        const buffer = source.addSourceBuffer(response.headers.get('content-type'));
        for await (const piece of response.body) {
          buffer.appendBuffer(piece);
          await new Promise((done) => buffer.addEventListener('updateend', done, { once: true }));
          if (!buffer.buffered.length) continue;
          const newest = buffer.buffered.end(buffer.buffered.length - 1);
          // Three parts of cushion: fewer run dry whenever one comes late.
          if (video.paused && newest - buffer.buffered.start(0) >= CUSHION) {
            video.currentTime = newest - CUSHION;
            video.play().catch((error) => account.errors.push(String(error)));
          } else if (!video.paused && newest - video.currentTime > 2 * CUSHION) {
            // What came first began at a keyframe, a while ago.
            video.currentTime = newest - CUSHION;
          }
        }
        account.errors.push('the stream ended');
      } catch (error) { account.errors.push(String(error)); }
    });
  }
}

/** Runs in the page: what the account says now. */
function look() {
  const video = document.querySelector('video');
  const quality = video.getVideoPlaybackQuality();
  const { account } = window;
  let behind = null;
  if (account.mode === 'hls' && window.hls.playingDate) behind = Date.now() - window.hls.playingDate.getTime();
  if (account.mode === 'stream' && account.origin !== undefined) behind = Date.now() - account.origin - video.currentTime * 1000;
  return {
    ...account, behind, time: video.currentTime, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
    width: video.videoWidth, height: video.videoHeight,
  };
}

async function play(mode) {
  const { chromium: driver } = require('playwright-core');
  const profile = await mkdtemp(join(tmpdir(), 'flowrun-browser-'));
  const context = await driver.launchPersistentContext(profile, {
    executablePath: chromium,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
  });
  try {
    const page = await context.newPage();
    const script = mode === 'hls' ? await readFile(require.resolve('hls.js/dist/hls.min.js'), 'utf8') : '';
    // The page comes from the server's own origin, so that what it fetches is not another's.
    const address = new URL('/flowrun-browser-test.html', base).href;
    await page.route(address, (route) => route.fulfill({
      contentType: 'text/html', body: `<!doctype html><video width=640></video><script>${script}</script>`,
    }));
    await page.goto(address);
    await page.evaluate(begin, { mode, base });
    await page.waitForFunction(() => window.account.startup !== null || window.account.errors.length > 0, null, { timeout: 30_000 });
    const first = await page.evaluate(look);
    await page.waitForTimeout(Number(seconds) * 1000);
    const last = await page.evaluate(look);
    const played = last.time - first.time;
    const behind = { first: first.behind, last: last.behind };
    const ok = last.stalls.length === 0 && last.errors.length === 0 && played > 0.8 * Number(seconds);
    return { ok, played, ...last, behind, began: undefined };
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

let failed = false;
for (const mode of chosen) {
  let result;
  try {
    result = mode === 'boxes' ? await boxes() : await play(mode);
  } catch (error) {
    result = { ok: false, error: String(error) };
  }
  failed ||= !result.ok;
  console.log(JSON.stringify({ mode, ...result }));
}
process.exit(failed ? 1 : 0);
