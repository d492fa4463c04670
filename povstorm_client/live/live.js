// The live page: what the server tells as events, put into the page as text, never as HTML.
(() => {
  const given = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  for (const element of document.querySelectorAll("[data-ratio]")) {
    element.style.setProperty("--ratio", element.dataset.ratio);
  }
  const ratio = (() => {
    const [width, height] = document.querySelector("[data-ratio]").dataset.ratio.split("/");
    return Number(width) / Number(height);
  })();
  const frames = given.runs.flatMap(
    ([first, last]) => Array.from({ length: last - first + 1 }, (_, step) => first + step));
  const count = frames.length;
  const column = (value) => new Array(count).fill(value);
  const data = {
    frames, clocks: given.clocks, fps: given.fps, at: frames.map((_, index) => index / given.fps),
    states: column("."), seconds: column(null), cpu: column(null), memory: column(null),
    host: column(-1), attempts: column(0), started: column(0), ended: column(0),
    versions: column(""), hosts: [],
  };
  const errors = new Map();
  const WORDS = { r: "", c: given.cached, f: "failed", w: "in work", t: "to be tried again",
    ".": "waiting", o: "outdated" };
  const KINDS = { r: "rendered", c: "cached", f: "failed", w: "working", t: "retried",
    ".": "waiting", o: "outdated" };
  const hasImage = (index) => data.versions[index] !== "";
  const make = (kind, words, className) => {
    const element = document.createElement(kind);
    if (words !== undefined) element.textContent = words;
    if (className) element.className = className;
    return element;
  };

  // Pictures: the server has one of each size for each frame. Few are kept here, so that ten
  // thousand frames take no more memory than a hundred.
  const KEPT = 300;
  const AHEAD = 36;
  const addressOf = (index, ending) => `frames/${frames[index]}/${data.versions[index]}.${ending}`;
  const images = new Map();
  const imageAt = (index) => {
    const address = addressOf(index, "webp");
    let image = images.get(address);
    if (image) images.delete(address);
    else {
      image = new Image();
      image.src = address;
    }
    images.set(address, image);
    if (images.size > KEPT) images.delete(images.keys().next().value);
    return image;
  };
  const isLoaded = (index) => {
    const image = images.get(addressOf(index, "webp"));
    return image !== undefined && image.complete && image.naturalWidth > 0;
  };
  // The nearest index that has it: the same, then before, then after.
  const nearest = (index, has) => {
    for (let at = index; at >= 0; at--) if (has(at)) return at;
    for (let at = index + 1; at < count; at++) if (has(at)) return at;
    return -1;
  };
  const shownAt = (index, playing) => {
    // In place of a frame as it was before a save comes the nearest that is new: so it moves soon.
    if (data.states[index] === "o") {
      const anew = nearest(index, (at) => data.states[at] === "r" && (!playing || isLoaded(at)));
      return anew >= 0 ? anew : index;
    }
    const loaded = playing ? nearest(index, (at) => hasImage(at) && isLoaded(at)) : -1;
    return loaded >= 0 ? loaded : nearest(index, hasImage);
  };

  const player = framePlayer(data, {
    picture: (index, playing) => {
      const at = shownAt(index, playing);
      return at < 0 ? null : imageAt(at);
    },
    blank: (index, playing) => {
      if (data.states[index] === "f" && !playing) {
        const error = errors.get(frames[index]);
        return `Frame ${frames[index]} failed${error ? ": " + error : ""}`;
      }
      return nearest(index, hasImage) < 0 ? "No frame is done yet" : "";
    },
    imageOf: (index) => addressOf(index, "png"),
    missing: (index) => `The image of frame ${frames[index]} cannot be read.`,
    note: (index) => {
      const isOwn = data.states[index] === "f" || (hasImage(index) && data.states[index] !== "o");
      const at = isOwn ? index : shownAt(index, false);
      const words = [given.variants[index], WORDS[data.states[index]], at >= 0 && at !== index ? `shown: ${frames[at]}` : ""];
      return words.filter(Boolean).join(", ");
    },
    ahead: (index) => {
      for (let step = 0, found = 0; step < count && found < AHEAD; step++) {
        const at = (index + step) % count;
        if (!hasImage(at)) continue;
        imageAt(at);
        found++;
      }
    },
    thumbs: { places: null, find: (index) => thumbs.get(index) ?? null },
  });

  // Whoever chooses a frame has it stay; until then the stage shows what is done last.
  const newest = byId("newest");
  let follows = true;
  const follow = (yes) => {
    follows = yes;
    newest.setAttribute("aria-pressed", String(yes));
    if (yes) showNewest();
  };
  const showNewest = () => {
    if (given.edition) {
      // Drafts: stay, unless a save has changed other frames than the one that is shown.
      const changed = nearest(player.current, (at) => "ro".includes(data.states[at]));
      player.show(changed < 0 ? Math.max(0, player.current) : changed);
      return;
    }
    let best = -1;
    for (let index = 0; index < count; index++) {
      if (data.states[index] === "r" && hasImage(index) &&
          (best < 0 || data.ended[index] >= data.ended[best])) best = index;
    }
    if (best < 0) best = nearest(0, hasImage);
    player.show(Math.max(0, best));
  };
  newest.addEventListener("click", () => {
    player.stop();
    follow(!follows);
  });
  // Captured: before the player shows what was chosen.
  document.addEventListener("input", () => follow(false), true);
  document.addEventListener("keydown", (event) => {
    if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) follow(false);
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-frame], #play")) follow(false);
  }, true);

  const hideProblem = () => (byId("problem").hidden = true);
  byId("problem-close").addEventListener("click", hideProblem);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideProblem();
  });

  // The contact sheet has buttons for what can be seen of it only.
  const sheet = byId("sheet"), box = byId("window");
  const WHOLE = 240;
  const GAP = 8;
  const thumbs = new Map();
  let columns = 1, cell = 100, tall = 75;
  let reachable = 0;
  const fill = (button, index) => {
    const kind = KINDS[data.states[index]];
    const at = hasImage(index) ? addressOf(index, "webp") : "";
    button.className = kind;
    const words = WORDS[data.states[index]];
    button.setAttribute("aria-label", `Frame ${frames[index]}${words ? ", " + words : ""}`);
    if (button.dataset.at === at + kind) return;
    button.dataset.at = at + kind;
    const number = make("span", frames[index], "number");
    if (at) {
      const image = make("img");
      image.alt = "";
      image.src = at;
      button.replaceChildren(image, number);
    } else {
      const told = { f: "failed", w: "in work", t: "again", r: "…", c: "…" }[data.states[index]] ?? "";
      button.replaceChildren(make("span", told, "nothing"), number);
    }
  };
  const fillSheet = () => {
    const row = tall + GAP;
    const from = Math.max(0, Math.floor(box.scrollTop / row) - 2) * columns;
    const to = Math.min(count, (Math.ceil((box.scrollTop + box.clientHeight) / row) + 2) * columns);
    for (const [index, button] of thumbs) {
      if ((index < from || index >= to) && document.activeElement !== button) {
        button.remove();
        thumbs.delete(index);
      }
    }
    const fresh = [];
    for (let index = from; index < to; index++) {
      let button = thumbs.get(index);
      if (!button) {
        button = make("button");
        button.type = "button";
        button.dataset.frame = frames[index];
        thumbs.set(index, button);
        fresh.push([index, button]);
      }
      button.style.left = (index % columns) * (cell + GAP) + "px";
      button.style.top = Math.floor(index / columns) * row + "px";
      button.style.width = cell + "px";
      button.style.height = tall + "px";
      button.tabIndex = index === reachable ? 0 : -1;
      if (index === player.current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      fill(button, index);
    }
    // In the order of the frames, also for those who read the page by keys.
    for (const [index, button] of fresh) {
      let before = null;
      for (let at = index + 1; at < to && !before; at++) {
        const next = thumbs.get(at);
        if (next && next.parentNode === sheet) before = next;
      }
      sheet.insertBefore(button, before);
    }
  };
  const laySheet = () => {
    const least = matchMedia("(max-width: 680px)").matches ? 78 : 112;
    if (count <= WHOLE) box.style.maxHeight = "none";
    const wide = sheet.clientWidth;
    columns = Math.max(1, Math.min(count, Math.floor((wide + GAP) / (least + GAP))));
    cell = count < columns ? least : (wide - GAP * (columns - 1)) / columns;
    cell = Math.min(cell, 2 * least);
    tall = cell / ratio;
    const rows = Math.ceil(count / columns);
    sheet.style.height = rows * (tall + GAP) - GAP + "px";
    fillSheet();
  };
  box.addEventListener("scroll", () => requestAnimationFrame(fillSheet), { passive: true });
  player.listeners.push((index) => {
    reachable = index;
    const top = Math.floor(index / columns) * (tall + GAP);
    // Of a long sheet the chosen frame is in sight, unless the page follows what is new.
    if (!follows && !player.playing) {
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + tall > box.scrollTop + box.clientHeight) {
        box.scrollTop = top + tall - box.clientHeight + GAP;
      }
    }
    fillSheet();
  });

  // Of drafts the frame that is looked at is drawn first, once it is not only passed by.
  let looking = 0, lookedAt = null;
  const tellLooking = () => fetch(`looking-at/${lookedAt}`, { cache: "no-store" }).catch(() => {});
  if (given.edition) player.listeners.push((index) => {
    clearTimeout(looking);
    if (player.playing || frames[index] === lookedAt) return;
    looking = setTimeout(() => {
      lookedAt = frames[index];
      tellLooking();
    }, 150);
  });

  // Plots, drawn anew when something changed, at most once a second.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name);
  const prepared = (canvas) => {
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = colour("muted");
    return { pen, width, height, left: 44, right: width - 4, top: 10, bottom: height - 24 };
  };
  const nice = (most) => {
    const power = 10 ** Math.floor(Math.log10(most / 3 || 1));
    return [1, 2, 5, 10].map((step) => step * power).find((step) => most / step <= 4) ?? power * 10;
  };
  const axis = ({ pen, left, right, top, bottom }, most, words) => {
    const step = nice(most);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let value = 0; value <= most; value += step) {
      const y = bottom - (value / most) * (bottom - top);
      pen.fillStyle = colour("grid");
      pen.fillRect(left, y - 0.5, right - left, 1);
      pen.fillStyle = colour("muted");
      pen.fillText(words(value, step), left - 8, y);
    }
  };
  const below = ({ pen, left, right, bottom }, first, last) => {
    pen.fillStyle = colour("muted");
    pen.textBaseline = "top";
    pen.textAlign = "left";
    pen.fillText(first, left, bottom + 7);
    pen.textAlign = "right";
    pen.fillText(last, right, bottom + 7);
  };
  const ROLE = { r: "rendered", c: "cached", f: "failed" };
  const drawSeconds = () => {
    const timed = data.seconds.filter((value) => value !== null);
    byId("seconds-part").hidden = timed.length === 0;
    if (!timed.length) return;
    const ascending = [...timed].sort((one, other) => one - other);
    const half = ascending[(ascending.length - 1) >> 1], most = ascending.at(-1) || 0.01;
    byId("seconds-lead").textContent =
      `Half of the frames took at most ${half.toFixed(2)} s, the slowest ${most.toFixed(2)} s.`;
    const plot = prepared(byId("seconds"));
    const { pen, left, right, top, bottom } = plot;
    axis(plot, most * 1.05, (value, step) => value.toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0) + " s");
    below(plot, `frame ${frames[0]}`, `${frames[count - 1]}`);
    const each = (right - left) / count;
    const y = (value) => bottom - (value / (most * 1.05)) * (bottom - top);
    if (each >= 2) {
      const wide = Math.min(24, each > 4 ? each - 2 : each - 0.5);
      for (let index = 0; index < count; index++) {
        const role = ROLE[data.states[index]];
        if (!role) continue;
        const value = data.seconds[index];
        pen.fillStyle = colour(role);
        const x = left + (index + 0.5) * each - wide / 2;
        if (value === null) pen.fillRect(x, bottom - 5, wide, 5);
        else pen.fillRect(x, y(value), wide, Math.max(1, bottom - y(value)));
      }
      return;
    }
    // More frames than there is room for: least, most and median of neighbours.
    const groups = Math.floor((right - left) / 3);
    for (let group = 0; group < groups; group++) {
      const from = Math.floor((group * count) / groups);
      const to = Math.floor(((group + 1) * count) / groups);
      const values = data.seconds.slice(from, to).filter((value) => value !== null).sort((a, b) => a - b);
      const x = left + (group / groups) * (right - left);
      if (values.length) {
        pen.fillStyle = colour("rendered");
        pen.globalAlpha = 0.3;
        pen.fillRect(x, y(values.at(-1)), 2, Math.max(1, y(values[0]) - y(values.at(-1))));
        pen.globalAlpha = 1;
        pen.fillRect(x, y(values[values.length >> 1]) - 1, 2, 2);
      }
      if (data.states.slice(from, to).includes("f")) {
        pen.fillStyle = colour("failed");
        pen.fillRect(x, bottom - 5, 2, 5);
      }
    }
  };

  let bars = [], lanes = 0, begin = 0, end = 0;
  const laneSpans = () => {
    const spans = [];
    for (let index = 0; index < count; index++) {
      if (data.states[index] === "r" && data.started[index]) {
        spans.push([data.host[index], data.started[index], Math.max(data.started[index], data.ended[index]), index]);
      }
    }
    spans.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    bars = [];
    lanes = 0;
    begin = Infinity;
    end = -Infinity;
    let host = null, free = [];
    for (const [by, from, to, index] of spans) {
      if (by !== host) {
        lanes += free.length;
        [host, free] = [by, []];
      }
      let lane = free.findIndex((until) => until <= from + 0.02);
      if (lane < 0) lane = free.length;
      free[lane] = to;
      bars.push([lanes + lane, from, to, index]);
      begin = Math.min(begin, from);
      end = Math.max(end, to);
    }
    lanes += free.length;
  };
  const clockWords = (moment) => new Date(moment * 1000).toLocaleTimeString([], { hour12: false });
  const drawTimeline = () => {
    laneSpans();
    byId("timeline-part").hidden = bars.length === 0;
    if (!bars.length) return;
    const canvas = byId("timeline");
    const inLanes = lanes <= 60;
    canvas.style.height = inLanes ? Math.max(70, Math.min(340, 40 + lanes * 16)) + "px" : "220px";
    const plot = prepared(canvas);
    const { pen, left, right, top, bottom } = plot;
    const x = (moment) => left + ((moment - begin) / (end - begin || 1)) * (right - left);
    below(plot, clockWords(begin), clockWords(end));
    pen.fillStyle = colour("rendered");
    if (inLanes) {
      const high = (bottom - top) / lanes;
      for (const [lane, from, to] of bars) {
        const wide = x(to) - x(from);
        pen.fillRect(x(from), top + lane * high + 1, Math.max(0.7, wide > 3 ? wide - 1 : wide), Math.max(1, high - 2));
      }
      return;
    }
    const groups = Math.floor((right - left) / 2), sums = new Array(groups + 1).fill(0);
    for (const [, from, to] of bars) {
      sums[Math.floor(((from - begin) / (end - begin || 1)) * groups)]++;
      sums[Math.min(groups, Math.floor(((to - begin) / (end - begin || 1)) * groups) + 1)]--;
    }
    let now = 0;
    const heights = sums.map((change) => (now += change));
    const most = Math.max(...heights, 1);
    axis(plot, most * 1.05, (value) => String(Math.round(value)));
    pen.fillStyle = colour("rendered");
    heights.forEach((value, group) => {
      const tallness = (value / (most * 1.05)) * (bottom - top);
      pen.fillRect(left + group * 2, bottom - tallness, 2, tallness);
    });
  };
  let due = 0;
  const drawPlots = () => {
    due ||= setTimeout(() => {
      due = 0;
      drawSeconds();
      drawTimeline();
    }, 300);
  };
  const tips = (canvas, words, choose) => {
    const tip = canvas.parentNode.querySelector(".tip");
    canvas.addEventListener("pointerleave", () => (tip.hidden = true));
    canvas.addEventListener("pointermove", (event) => {
      const told = words(event.offsetX, event.offsetY);
      tip.hidden = !told;
      if (!told) return;
      tip.textContent = told;
      const room = canvas.clientWidth - tip.offsetWidth;
      tip.style.transform = `translate(${Math.max(0, Math.min(room, event.offsetX + 14))}px, ` +
        `${event.offsetY - tip.offsetHeight - 12}px)`;
    });
    canvas.addEventListener("click", (event) => {
      const index = choose(event.offsetX, event.offsetY);
      if (index < 0) return;
      follow(false);
      player.jumpTo(frames[index]);
    });
  };
  const indexAt = (x) => {
    const share = (x - 44) / (byId("seconds").clientWidth - 48);
    return share < 0 || share >= 1 ? -1 : Math.floor(share * count);
  };
  const told = (index) => {
    const words = [WORDS[data.states[index]]];
    if (data.seconds[index] !== null) words.unshift(player.seconds(data.seconds[index]));
    return `frame ${frames[index]}: ${words.filter(Boolean).join(", ")}`;
  };
  tips(byId("seconds"), (x) => (indexAt(x) < 0 ? "" : told(indexAt(x))), indexAt);
  const barAt = (x, y) => {
    const canvas = byId("timeline");
    if (lanes > 60) return null;
    const moment = begin + ((x - 44) / (canvas.clientWidth - 48)) * (end - begin);
    const lane = Math.floor(((y - 10) / (canvas.clientHeight - 34)) * lanes);
    return bars.find((bar) => bar[0] === lane && bar[1] <= moment && moment <= bar[2]) ?? null;
  };
  tips(byId("timeline"), (x, y) => {
    const bar = barAt(x, y);
    return bar ? `${told(bar[3])}, by ${data.hosts[data.host[bar[3]]] ?? "–"}` : "";
  }, (x, y) => barAt(x, y)?.[3] ?? -1);

  // What the server tells.
  const jump = (frame) => {
    const button = make("button", frame, "jump");
    button.type = "button";
    button.dataset.frame = frame;
    return button;
  };
  const tellers = {
    status: ({ phase, tone, message, ended, report, counts }) => {
      const pill = byId("phase");
      pill.textContent = phase;
      pill.className = "pill " + tone;
      byId("message").textContent = message;
      const [rendered, cached, failed, working] = counts;
      const parts = byId("meter").children;
      [rendered, cached, failed, working].forEach((value, index) => {
        parts[index].style.width = (100 * value) / count + "%";
      });
      byId("meter").setAttribute("aria-valuenow", rendered + cached);
      const share = Math.floor((100 * (rendered + cached)) / count);
      document.title = (ended || given.edition ? phase : `${share} %`) + ` · ${document.querySelector("h1").textContent}`;
      if (ended && report) location.replace("report.html");
    },
    tiles: (tiles) => {
      byId("tiles").replaceChildren(...tiles.map(([label, value, note]) => {
        const tile = make("div");
        tile.append(make("dt", label), make("dd", value));
        if (note) tile.append(make("dd", note, "note"));
        return tile;
      }));
    },
    failures: (groups) => {
      byId("failed").hidden = groups.length === 0;
      errors.clear();
      byId("failures").replaceChildren(...groups.map((group) => {
        for (const frame of group.frames) errors.set(frame, group.error);
        const article = make("article", undefined, "failure");
        const head = make("h3", group.frames.length === 1 ? "Frame " : "Frames ");
        for (const frame of group.frames.slice(0, 12)) head.append(jump(frame), " ");
        if (group.more) head.append(make("span", group.more, "muted"));
        article.append(head, make("p", group.error, "error"));
        if (group.log_tail) {
          const details = make("details"), text = make("pre", group.log_tail);
          text.tabIndex = 0;
          details.append(make("summary", "POV-Ray’s last lines"), text);
          article.append(details);
        }
        const command = make("pre", group.again, "command");
        command.tabIndex = 0;
        article.append(make("p", "Render it again, here:", "muted"), command);
        return article;
      }));
      player.redraw();
    },
    attempts: (attempts) => {
      byId("attempts-part").hidden = attempts.length === 0;
      byId("attempts").replaceChildren(...attempts.map((attempt) => {
        const line = make("li");
        line.append(jump(attempt.frame), ` attempt ${attempt.number}`);
        if (attempt.lost) line.append(make("span", "container lost", "lost"));
        line.append(make("span", attempt.when, "when"), make("p", attempt.error));
        if (attempt.host) line.append(make("p", attempt.host, "muted"));
        return line;
      }));
    },
    attempts_in_all: (number) => {
      byId("attempts-lead").textContent =
        `${number} so far, the latest first. What another attempt can mend is tried again.`;
    },
    shares: (shares) => {
      byId("shares").replaceChildren(...shares.map(([host, some, each]) => {
        const row = make("tr"), head = make("th", host);
        head.scope = "row";
        row.append(head, make("td", some, "n"), make("td", each, "n"));
        return row;
      }));
    },
    machines: (number) => {
      byId("timeline-lead").textContent = number === 1 ? "One machine or container."
        : `${number} machines or containers, those that ended a frame last first.`;
    },
    edition: (edition) => {
      // Other frames, or another size: the page begins anew, with the frame that is shown.
      if (edition === given.edition) return;
      history.replaceState({ frame: frames[Math.max(0, player.current)] }, "");
      location.reload();
    },
    problem: (problem) => {
      byId("problem").hidden = problem === null;
      if (problem === null) return;
      byId("problem-where").textContent = problem.where;
      byId("problem-words").textContent = problem.words;
      byId("problem-note").textContent = problem.note;
      byId("problem-lines").hidden = problem.lines.length === 0;
      byId("problem-lines").replaceChildren(...problem.lines.map(([number, text, isIt]) => {
        const line = make("li", text || " ");
        line.value = number;
        if (isIt) line.setAttribute("aria-current", "true");
        return line;
      }));
    },
    notes: (notes) => {
      byId("notes").replaceChildren(...notes.map((note) => make("p", note, "muted")));
    },
  };
  const take = (event) => {
    if (event.all) {
      data.hosts.length = 0;
      data.states.fill(".");
      data.versions.fill("");
      for (const name of ["seconds", "cpu", "memory"]) data[name].fill(null);
    }
    if (event.hosts) data.hosts.push(...event.hosts);
    for (const row of event.rows ?? []) {
      const [index, state, seconds, cpu, memory, host, attempts, started, ended, version] = row;
      data.states[index] = state;
      data.seconds[index] = seconds;
      data.cpu[index] = cpu;
      data.memory[index] = memory;
      data.host[index] = host;
      data.attempts[index] = attempts;
      data.started[index] = started;
      data.ended[index] = ended;
      data.versions[index] = version;
    }
    for (const [name, tell] of Object.entries(tellers)) {
      if (event[name] !== undefined) tell(event[name]);
    }
    if (event.rows || event.all) {
      fillSheet();
      if (follows) showNewest();
      player.redraw();
      drawPlots();
    }
  };

  const lost = byId("lost");
  let source = null;
  const listen = () => {
    source = new EventSource("events");
    source.addEventListener("open", () => {
      lost.hidden = true;
      // A server that was started anew does not know it.
      if (lookedAt !== null) tellLooking();
    });
    source.addEventListener("message", (message) => take(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      lost.hidden = false;
      lost.textContent = `The server does not answer. ${given.unanswered} ` +
        "This page goes on when it does.";
      // Some browsers give up, and none tries again where the answer was no stream.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1500);
    });
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
  new ResizeObserver(() => {
    laySheet();
    drawPlots();
  }).observe(document.querySelector("main"));
  laySheet();
  player.show(player.indexOf.get(history.state?.frame) ?? 0);
  history.replaceState(null, "");
  listen();
})();
