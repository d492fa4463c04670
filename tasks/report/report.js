"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const stage = byId("stage"), full = byId("full"), blank = byId("blank"), scrub = byId("scrub");
  const play = byId("play"), sharp = byId("sharp"), said = byId("said");
  const pen = stage.getContext("2d");
  const count = data.frames.length;
  const indexOf = new Map(data.frames.map((frame, index) => [frame, index]));
  const thumbs = new Map();
  for (const button of document.querySelectorAll(".sheet button")) {
    thumbs.set(Number(button.dataset.frame), button);
  }

  const inSheet = [...thumbs.keys()].map((frame) => indexOf.get(frame));

  // Previews: those of the contact sheet are in the page already, the others in the data.
  const sources = new Map();
  for (const [frame, button] of thumbs) {
    const image = button.querySelector("img");
    if (image) sources.set(frame, image.src);
  }
  for (const [frame, text] of Object.entries(data.previews)) {
    sources.set(Number(frame), "data:image/webp;base64," + text);
  }
  // For each index, the nearest frame at or before it that has a preview, or else after it.
  const nearest = new Array(count).fill(null);
  for (let index = 0, last = null; index < count; index++) {
    if (sources.has(data.frames[index])) last = data.frames[index];
    nearest[index] = last;
  }
  for (let index = count - 1, next = null; index >= 0; index--) {
    if (nearest[index] === null) nearest[index] = next;
    else next = nearest[index];
  }
  const decoded = new Map();
  const preview = (frame) => {
    let image = decoded.get(frame);
    if (!image) {
      image = new Image();
      image.src = sources.get(frame);
      decoded.set(frame, image);
    }
    return image;
  };

  // Beside the report lie the images: in the storage as output/, saved by povstorm as frames/.
  const stored = decodeURIComponent(location.pathname).endsWith(`/jobs/${data.job}/report.html`);
  const imageOf = (frame) => (stored ? "output/" : "frames/") +
    data.image.replace("#", String(frame).padStart(data.digits, "0"));
  if (!data.image) sharp.hidden = true;
  const video = byId("video");
  if (video && !stored) video.href = encodeURIComponent(data.video);

  let current = -1;
  let isSharp = false;
  const listeners = [];
  const now = {};
  for (const element of document.querySelectorAll("[data-now]")) {
    now[element.dataset.now] = element;
  }
  const seconds = (value) => value === null ? "–" : value < 60 ? value.toFixed(2) + " s"
    : Math.floor(value / 60) + " min " + String(Math.round(value % 60)).padStart(2, "0") + " s";
  const STATES = { r: "", c: "from the cache", f: "failed", m: "not rendered" };

  const draw = (index) => {
    const frame = data.frames[index];
    const state = data.states[index];
    const absent = state === "f" || state === "m";
    const source = absent ? null : nearest[index];
    blank.hidden = source !== null;
    if (source === null) {
      pen.clearRect(0, 0, stage.width, stage.height);
      blank.textContent = absent
        ? `Frame ${frame} ${STATES[state]}${data.errors[frame] ? ": " + data.errors[frame] : ""}`
        : "No image is readable";
      return;
    }
    const image = preview(source);
    const paint = () => {
      if (current !== index && nearest[current] !== source) return;
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
    const state = data.states[current];
    if (!isSharp || state === "f" || state === "m") return;
    full.src = imageOf(data.frames[current]);
  };
  full.addEventListener("load", () => {
    full.hidden = !isSharp;
    said.textContent = "";
  });
  full.addEventListener("error", () => {
    full.hidden = true;
    said.textContent = `The images are not beside this file: ${imageOf(data.frames[current])} is not there.`;
  });

  const show = (index) => {
    index = Math.max(0, Math.min(count - 1, index));
    if (index === current) return;
    const before = thumbs.get(data.frames[current]);
    current = index;
    const frame = data.frames[index];
    scrub.value = index;
    const state = STATES[data.states[index]];
    scrub.setAttribute("aria-valuetext", `frame ${frame}${state ? ", " + state : ""}`);
    stage.setAttribute("aria-label", `Frame ${frame}`);
    now.frame.textContent = frame + (state ? `, ${state}` : "");
    now.clock.textContent = data.clocks[index];
    now.at.textContent = data.at[index].toFixed(2) + " s";
    now.seconds.textContent = seconds(data.seconds[index]);
    now.cpu.textContent = seconds(data.cpu[index]);
    now.memory.textContent = data.memory[index] === null ? "–" : data.memory[index] + " MiB";
    const attempts = data.attempts[index];
    now.host.textContent = (data.hosts[data.host[index]] || "–") +
      (attempts > 1 ? `, attempt ${attempts}` : "");
    if (before) before.removeAttribute("aria-current");
    const thumb = thumbs.get(frame);
    if (thumb) thumb.setAttribute("aria-current", "true");
    draw(index);
    showSharp();
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
      show((from + Math.floor(((time - begun) / 1000) * data.fps)) % count);
      playing = requestAnimationFrame(step);
    };
    playing = requestAnimationFrame(step);
    play.setAttribute("aria-pressed", "true");
    play.querySelector("span").textContent = "Pause";
    for (const frame of sources.keys()) preview(frame);
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
    const places = thumb ? inSheet : null;
    const here = thumb ? inSheet.indexOf(indexOf.get(Number(thumb.dataset.frame))) : current;
    const end = (thumb ? inSheet.length : count) - 1;
    const step = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: here - step, ArrowRight: here + step, Home: 0, End: end,
    }[event.key];
    if (to !== undefined) {
      stop();
      const place = Math.max(0, Math.min(end, to));
      show(places ? places[place] : place);
      if (thumb) thumbs.get(data.frames[current]).focus();
    } else if (event.key === " " && !target.closest("button, a")) {
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

  // One stop of the Tab key for all thumbnails: the arrow keys go on from there.
  if (thumbs.size) {
    for (const button of thumbs.values()) button.tabIndex = -1;
    let reachable = null;
    listeners.push((index) => {
      const button = thumbs.get(data.frames[index]) ?? reachable ?? thumbs.values().next().value;
      if (reachable) reachable.tabIndex = -1;
      button.tabIndex = 0;
      reachable = button;
    });
  }

  // Plots: a line at the chosen frame, values at the pointer, a click chooses.
  const SVG = "http://www.w3.org/2000/svg";
  const eachDrawn = (name, attach) => {
    for (const plot of document.querySelectorAll(`[data-plot="${name}"]`)) {
      const tip = plot.querySelector(".tip");
      for (const drawn of plot.querySelectorAll(".drawn")) {
        const svg = drawn.querySelector("svg");
        const [left, top, right, bottom] = drawn.dataset.box.split(" ").map(Number);
        const cursor = document.createElementNS(SVG, "line");
        cursor.setAttribute("class", "cursor");
        cursor.setAttribute("y1", top);
        cursor.setAttribute("y2", bottom);
        cursor.style.display = "none";
        svg.append(cursor);
        const place = (event) => {
          const point = new DOMPoint(event.clientX, event.clientY)
            .matrixTransform(svg.getScreenCTM().inverse());
          return [(point.x - left) / (right - left), (point.y - top) / (bottom - top)];
        };
        const mark = (share) => {
          cursor.style.display = share === null ? "none" : "";
          if (share === null) return;
          const x = left + share * (right - left);
          cursor.setAttribute("x1", x);
          cursor.setAttribute("x2", x);
        };
        const tell = (event, words) => {
          tip.hidden = !words;
          if (!words) return;
          tip.textContent = words;
          const box = plot.getBoundingClientRect();
          const x = event.clientX - box.left, y = event.clientY - box.top;
          const room = box.width - tip.offsetWidth;
          tip.style.transform = `translate(${Math.max(0, Math.min(room, x + 14))}px, ${y - tip.offsetHeight - 12}px)`;
        };
        drawn.addEventListener("pointerleave", () => (tip.hidden = true));
        attach({ drawn, place, mark, tell });
      }
    }
  };

  const first = data.frames[0], last = data.frames[count - 1];
  // The index of the frame whose number is nearest: frames ascend.
  const indexAt = (number) => {
    let low = 0, high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.frames[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low > 0 && number - data.frames[low - 1] < data.frames[low] - number ? low - 1 : low;
  };
  eachDrawn("seconds", ({ drawn, place, mark, tell }) => {
    const at = (event) => indexAt(first - 0.5 + place(event)[0] * (last - first + 1));
    drawn.addEventListener("pointermove", (event) => {
      const index = at(event);
      const state = STATES[data.states[index]];
      tell(event, `frame ${data.frames[index]}: ${data.seconds[index] === null ? state
        : seconds(data.seconds[index]) + (state ? ", " + state : "")}`);
    });
    drawn.addEventListener("click", (event) => jumpTo(data.frames[at(event)]));
    listeners.push((index) => mark((data.frames[index] - first + 0.5) / (last - first + 1)));
  });

  const KINDS = ["", "failed, tried again", "container lost", "failed"];
  eachDrawn("timeline", ({ drawn, place, mark, tell }) => {
    const { bars, lanes, steps, length } = data.timeline;
    const at = (event) => {
      const [x, y] = place(event);
      const lane = Math.floor(y * lanes);
      let best = null, distance = steps / 100;
      for (const bar of bars) {
        if (bar[0] !== lane) continue;
        const away = Math.max(bar[1] - x * steps, x * steps - bar[2], 0);
        if (away < distance) [best, distance] = [bar, away];
      }
      return best;
    };
    drawn.addEventListener("pointermove", (event) => {
      const bar = at(event);
      if (!bar) return tell(event, "");
      const [, from, to, frame, attempt, kind, frames] = bar;
      const took = seconds(((to - from) / steps) * length);
      tell(event, (frames > 1 ? `${frames} frames, first ${frame}` : `frame ${frame}`) +
        `: ${took}` + (attempt > 1 ? `, attempt ${attempt}` : "") +
        (KINDS[kind] ? `, ${KINDS[kind]}` : ""));
    });
    drawn.addEventListener("click", (event) => {
      const bar = at(event);
      if (bar) jumpTo(bar[3]);
    });
    const middles = new Map();
    for (const bar of bars) middles.set(bar[3], (bar[1] + bar[2]) / 2 / steps);
    listeners.push((index) => mark(middles.get(data.frames[index]) ?? null));
  });

  show(indexOf.get(data.first) ?? 0);
})();
