"use strict";
// The player of a job's frames: stage, scrubber, keys, playing, and what is known of the frame.
//
// data: by index, ascending by frame: frames, clocks, at, states (letters), seconds, cpu, memory,
// attempts, host; and hosts, fps. A page may change what it holds, and calls redraw().
// page: picture(index, playing): the image element to draw, null for none; blank(index, playing): text to
// show in place of a picture, "" for none; imageOf(index): where the full image is; note(index):
// words beside the frame's number; ahead(index): called while playing, to load what comes;
// missing(index): what to say if the full image is not there; thumbs: {places: indices with a
// thumbnail or null for all, find(index): its button}.
const framePlayer = (data, page) => {
  const byId = (id) => document.getElementById(id);
  const stage = byId("stage"), full = byId("full"), blank = byId("blank"), scrub = byId("scrub");
  const play = byId("play"), sharp = byId("sharp"), said = byId("said");
  const pen = stage.getContext("2d");
  const count = data.frames.length;
  const indexOf = new Map(data.frames.map((frame, index) => [frame, index]));
  let current = -1;
  let isSharp = false;
  let wanted = null;
  const listeners = [];
  const now = {};
  for (const element of document.querySelectorAll("[data-now]")) {
    now[element.dataset.now] = element;
  }
  const seconds = (value) => value === null ? "–" : value < 60 ? value.toFixed(2) + " s"
    : Math.floor(value / 60) + " min " + String(Math.round(value % 60)).padStart(2, "0") + " s";

  // In three digits, or whole, as memory_size (quantities.py) has it; data has MiB.
  const memory = (mib) => {
    const [value, unit] = mib < 1024 ? [mib, "MiB"] : [mib / 1024, "GiB"];
    return `${value < 100 ? Number(value.toPrecision(3)) : Math.round(value)} ${unit}`;
  };

  const draw = (index) => {
    const words = page.blank(index, playing !== 0);
    const image = words ? null : page.picture(index, playing !== 0);
    wanted = image;
    blank.hidden = image !== null;
    if (image === null) {
      pen.clearRect(0, 0, stage.width, stage.height);
      blank.textContent = words || "No image is readable";
      return;
    }
    const paint = () => {
      if (wanted !== image) return;
      // Scaled to fit, and centred, should it have another shape.
      const scale = Math.min(stage.width / image.naturalWidth, stage.height / image.naturalHeight);
      const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
      pen.clearRect(0, 0, stage.width, stage.height);
      pen.drawImage(image, (stage.width - width) / 2, (stage.height - height) / 2, width, height);
    };
    if (image.complete && image.naturalWidth) paint();
    else image.addEventListener("load", paint, { once: true });
  };

  const showSharp = () => {
    full.hidden = true;
    if (!isSharp || !"rc".includes(data.states[current])) return;
    full.src = page.imageOf(current);
  };
  full.addEventListener("load", () => {
    full.hidden = !isSharp;
    said.textContent = "";
  });
  full.addEventListener("error", () => {
    full.hidden = true;
    said.textContent = page.missing(current);
  });

  const tell = () => {
    const index = current, frame = data.frames[index];
    const note = page.note(index);
    scrub.setAttribute("aria-valuetext", `frame ${frame}${note ? ", " + note : ""}`);
    stage.setAttribute("aria-label", `Frame ${frame}`);
    now.frame.textContent = frame + (note ? `, ${note}` : "");
    now.clock.textContent = data.clocks[index];
    if (now.at) now.at.textContent = data.at[index].toFixed(2) + " s";
    now.seconds.textContent = seconds(data.seconds[index]);
    now.cpu.textContent = seconds(data.cpu[index]);
    now.memory.textContent = data.memory[index] === null ? "–" : memory(data.memory[index]);
    const attempts = data.attempts[index];
    now.host.textContent = (data.hosts[data.host[index]] || "–") +
      (attempts > 1 ? `, attempt ${attempts}` : "");
  };
  const redraw = () => {
    if (current < 0) return;
    tell();
    draw(current);
    showSharp();
  };

  const show = (index) => {
    index = Math.max(0, Math.min(count - 1, index));
    if (index === current) return;
    const before = current < 0 ? null : page.thumbs.find(current);
    current = index;
    scrub.value = index;
    if (before) before.removeAttribute("aria-current");
    const thumb = page.thumbs.find(index);
    if (thumb) thumb.setAttribute("aria-current", "true");
    redraw();
    for (const listener of listeners) listener(index);
  };
  const jumpTo = (frame) => {
    stop();
    show(indexOf.get(frame) ?? 0);
  };

  // Playing, at the video's own pace.
  let playing = 0;
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    play.setAttribute("aria-pressed", "false");
    play.querySelector("span").textContent = "Play";
  };
  const start = () => {
    if (isSharp) sharp.click();
    const from = current >= count - 1 ? 0 : current;
    let begun = null;
    const step = (time) => {
      begun ??= time;
      const index = (from + Math.floor(((time - begun) / 1000) * data.fps)) % count;
      page.ahead(index);
      show(index);
      playing = requestAnimationFrame(step);
    };
    playing = requestAnimationFrame(step);
    play.setAttribute("aria-pressed", "true");
    play.querySelector("span").textContent = "Pause";
    page.ahead(from);
  };
  play.addEventListener("click", () => (playing ? stop() : start()));
  sharp.addEventListener("click", () => {
    isSharp = !isSharp;
    sharp.setAttribute("aria-pressed", String(isSharp));
    said.textContent = "";
    if (isSharp) stop();
    showSharp();
  });
  scrub.addEventListener("input", () => {
    stop();
    show(Number(scrub.value));
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    // Elements that scroll or type keep their keys.
    if (target.closest("pre, summary, .scroll, input:not(#scrub)")) return;
    // Among the thumbnails from one to the next, elsewhere from frame to frame.
    const thumb = target.closest(".sheet button");
    const places = thumb ? page.thumbs.places : null;
    const at = thumb ? indexOf.get(Number(thumb.dataset.frame)) : current;
    const here = places ? places.indexOf(at) : at;
    const end = (places ? places.length : count) - 1;
    const step = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: here - step, ArrowRight: here + step, Home: 0, End: end,
    }[event.key];
    if (to !== undefined) {
      stop();
      const place = Math.max(0, Math.min(end, to));
      show(places ? places[place] : place);
      if (thumb) page.thumbs.find(current).focus();
    } else if (event.key === " " && count > 1 && !target.closest("button, a")) {
      play.click();
    } else {
      return;
    }
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-frame]");
    if (!button) return;
    jumpTo(Number(button.dataset.frame));
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      stage.scrollIntoView({ block: "nearest", behavior: "smooth" });
    } else {
      stage.scrollIntoView({ block: "nearest" });
    }
  });

  return {
    show, jumpTo, stop, redraw, seconds, indexOf, listeners,
    get current() { return current; },
    get playing() { return playing !== 0; },
  };
};
