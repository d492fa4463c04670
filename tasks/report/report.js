"use strict";
// The report: its previews are in the page, and all else that framePlayer (player.js) shows.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
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
  const imageOf = (index) => (stored ? "output/" : "frames/") +
    data.image.replace("#", String(data.frames[index]).padStart(data.digits, "0"));
  if (!data.image) byId("sharp").hidden = true;
  const video = byId("video");
  if (video && !stored) video.href = encodeURIComponent(data.video);

  const STATES = { r: "", c: "from the cache", f: "failed", m: "not rendered" };
  const isAbsent = (index) => data.states[index] === "f" || data.states[index] === "m";
  const { show, jumpTo, seconds, listeners } = framePlayer(data, {
    picture: (index) => (nearest[index] === null ? null : preview(nearest[index])),
    blank: (index) => {
      if (!isAbsent(index)) return "";
      const error = data.errors[data.frames[index]];
      return `Frame ${data.frames[index]} ${STATES[data.states[index]]}${error ? ": " + error : ""}`;
    },
    imageOf,
    missing: (index) => `The images are not beside this file: ${imageOf(index)} is not there.`,
    note: (index) => [data.variants[index], STATES[data.states[index]]].filter(Boolean).join(", "),
    ahead: () => {
      if (decoded.size < sources.size) for (const frame of sources.keys()) preview(frame);
    },
    thumbs: { places: inSheet, find: (index) => thumbs.get(data.frames[index]) ?? null },
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
