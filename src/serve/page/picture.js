// One camera's live picture, and the boxes of its tracks over it, in step with it.
import { play } from "./player.js";
import { Overlay } from "./overlay.js";

export class Picture {
  constructor(mount) {
    this.camera = mount.camera;
    this.figure = document.createElement("figure");
    const screen = document.createElement("div");
    screen.className = "screen";
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, autoplay: true, playsInline: true });
    this.video.setAttribute("aria-label", `Live picture of ${mount.camera}`);
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    screen.append(this.video, canvas);
    const caption = document.createElement("figcaption");
    const name = document.createElement("strong");
    name.textContent = mount.camera;
    this.said = document.createElement("span");
    caption.append(name, this.said);
    this.figure.append(screen, caption);
    this.video.addEventListener("loadedmetadata", () => {
      screen.style.aspectRatio = `${this.video.videoWidth} / ${this.video.videoHeight}`;
    });
    this.overlay = new Overlay(this.video, canvas, play(this.video, mount.path));
  }

  state(camera) {
    if (!camera) return;
    this.said.className = `state ${camera.health}`;
    const late = this.overlay.lateMs ? `, boxes ${(this.overlay.lateMs / 1000).toFixed(1)} s late` : "";
    const text = `${camera.health}, ${camera.fps.toFixed(1)} fps${late}`;
    if (this.said.textContent !== text) this.said.textContent = text;
  }

  showBoxes(shown) {
    this.overlay.shown = shown;
  }
}
