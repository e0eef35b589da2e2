// Looks at the page of a run in headless Chromium, as a person would, and says what it saw as JSON.
//
//   node page.mjs http://127.0.0.1:8080/ [FOLDER]
//
// The pictures play and change, boxes are drawn, late ones are told of, counts come and change, the graph shows rates, cameras
// are listed, nothing complains, and a phone's screen is not overflowed. Ends with 1 when something is amiss. Screenshots go to
// the folder.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [url, folder] = process.argv.slice(2);
const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .find((path) => path && existsSync(path));
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});

const complaints = [];
const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
page.on('pageerror', (error) => complaints.push(error.message));

/** What is on the page now. */
const look = () => page.evaluate(() => ({
  pictures: [...document.querySelectorAll('figure')].map((figure) => {
    const video = figure.querySelector('video');
    return {
      camera: figure.querySelector('strong').textContent,
      at: video.currentTime,
      width: video.videoWidth,
      boxes: Number(figure.querySelector('canvas').dataset.drawn ?? 0),
      said: figure.querySelector('span').textContent,
    };
  }),
  counts: [...document.querySelectorAll('#counts tbody')].map((body) => body.textContent),
  edges: [...document.querySelectorAll('#graph .edge text')].map((text) => text.textContent),
  cameras: [...document.querySelectorAll('#cameras tbody tr')].map((row) => row.cells[1].textContent),
  run: document.getElementById('run').textContent,
}));

/** Waits until what is on the page is as it should be; what is there at the end is looked at all the same. */
async function until(good) {
  const patience = Date.now() + 40_000;
  let seen = await look();
  while (!good(seen) && Date.now() < patience) {
    await page.waitForTimeout(250);
    seen = await look();
  }
  return seen;
}

const plays = (seen) => seen.pictures.length > 0 && seen.pictures.every((picture) => picture.width > 0 && picture.at > 0 && picture.boxes > 0);
await page.goto(url);
const first = await until((seen) => plays(seen) && seen.counts.some((text) => text) && seen.edges.some((text) => text.includes('/s')));
const video = page.locator('figure').first();
const before = await video.screenshot(folder ? { path: join(folder, 'first.png') } : {});
const second = await until((seen) => seen.pictures.every((picture, at) => picture.at > first.pictures[at].at + 1)
  && seen.counts.join() !== first.counts.join());
const after = await video.screenshot(folder ? { path: join(folder, 'second.png') } : {});
if (folder) await page.screenshot({ path: join(folder, 'page.png'), fullPage: true });

// Boxes that come after their picture was shown cannot be drawn over it: the page tells how late they are.
const late = await page.evaluate(async () => {
  const { Overlay } = await import('/assets/overlay.js');
  const { Picture } = await import('/assets/picture.js');
  const overlay = new Overlay(document.createElement('video'), document.createElement('canvas'), { eventTime: () => null });
  const said = document.createElement('span');
  return [1100, 2400].map((ms) => {
    overlay.take({ time_ns: 1e9, size: [640, 360], rows: [] });
    overlay.draw(ms);
    Picture.prototype.state.call({ overlay, said }, { health: 'live', fps: 10 });
    return said.textContent;
  });
});

// By keyboard: the first stop leads past the header, the next ones through the page.
await page.keyboard.press('Tab');
const skip = await page.evaluate(() => document.activeElement.textContent);
await page.setViewportSize({ width: 390, height: 844 });
const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
if (folder) await page.screenshot({ path: join(folder, 'phone.png') });
await browser.close();

const checks = {
  'pictures play and boxes are drawn': plays(second),
  'pictures go on': second.pictures.every((picture, at) => picture.at > first.pictures[at].at),
  'two screenshots differ': !before.equals(after),
  'counts are there': first.counts.some((text) => text),
  'counts change': second.counts.join() !== first.counts.join(),
  'edges show rates': second.edges.length > 0 && second.edges.filter((text) => /\d\/s/.test(text)).length > 1,
  'cameras are live': second.cameras.length > 0 && second.cameras.every((state) => state === 'live'),
  'boxes that come late are told of': late.join('; ') === 'live, 10.0 fps; live, 10.0 fps, boxes 1.4 s late',
  'the keyboard begins at the skip link': skip.startsWith('Skip'),
  'a phone shows all of it': overflow <= 0,
  'nothing complains': complaints.length === 0,
};
console.log(JSON.stringify({ checks, complaints, first, second, overflow }, null, 1));
process.exit(Object.values(checks).every(Boolean) ? 0 : 1);
