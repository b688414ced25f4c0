(() => {
  "use strict";
  const info = JSON.parse(document.getElementById("data").textContent);
  const [height, width] = info.size;
  const SCALE = 5; // screen pixels of an outline's canvas along a pixel of the tile
  const $ = (id) => document.getElementById(id);
  const key = `l4s-labels ${info.run} ${info.split} ${info.tiles.map((t) => t.patch).join(" ")}`;

  const decode = (runs) => {
    const mask = new Uint8Array(width * height);
    let at = 0;
    runs.forEach((n, i) => { mask.fill(i % 2, at, at + n); at += n; });
    return mask;
  };
  const encode = (mask) => {
    const runs = [];
    let value = 0, start = 0;
    mask.forEach((v, i) => { if (v !== value) { runs.push(i - start); start = i; value = v; } });
    runs.push(mask.length - start);
    return runs;
  };
  const numbers = (text) => new Uint16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  const tiles = info.tiles.map((t) => ({
    ...t, start: decode(t.mask), mask: decode(t.mask), done: false, undo: [], redo: [],
    segments: { small: numbers(t.segments.small), large: numbers(t.segments.large) },
  }));
  let current = 0, layer = 0, cross = null, hover = null, stroke = null;

  const remember = () => {
    const kept = tiles.map((t) => ({ runs: encode(t.mask), done: t.done }));
    try {
      localStorage.setItem(key, JSON.stringify({ current, kept }));
      $("unkept").textContent = "";
    } catch { // full, or not allowed for files
      $("unkept").textContent = "This browser keeps nothing: save before you close the page.";
    }
  };
  const recall = () => {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      const masks = found.kept.map((k) => decode(k.runs));
      if (masks.length !== tiles.length) return;
      current = Math.min(found.current, tiles.length - 1);
      found.kept.forEach((k, i) => { tiles[i].mask = masks[i]; tiles[i].done = k.done; });
    } catch { /* nothing kept, or nothing that can be read */ }
  };

  const tool = () => document.querySelector("input[name=tool]:checked").value;
  const here = () => tiles[current];

  function change(edit) {
    const tile = here(), before = tile.mask.slice();
    edit(tile.mask);
    if (before.every((v, i) => v === tile.mask[i])) return;
    tile.undo.push(before);
    tile.redo = [];
    remember();
    draw();
  }

  function step(from, to) {
    const tile = here();
    if (!tile[from].length) return;
    tile[to].push(tile.mask);
    tile.mask = tile[from].pop();
    remember();
    draw();
  }

  function paint(mask, x, y, value) {
    const r = Number($("width").value) / 2;
    for (let j = Math.ceil(y - r); j <= y + r; j++) {
      for (let i = Math.ceil(x - r); i <= x + r; i++) {
        const inside = i >= 0 && j >= 0 && i < width && j < height;
        if (inside && (i - x) ** 2 + (j - y) ** 2 <= r * r) mask[j * width + i] = value;
      }
    }
  }

  function along(mask, from, to, value) {
    const n = Math.max(1, Math.abs(to.x - from.x), Math.abs(to.y - from.y));
    for (let k = 0; k <= n; k++) {
      paint(mask, Math.round(from.x + ((to.x - from.x) * k) / n), Math.round(from.y + ((to.y - from.y) * k) / n), value);
    }
  }

  function mark({ x, y }) {
    const used = tool();
    if (used === "brush" || used === "erase") {
      change((mask) => paint(mask, x, y, used === "brush" ? 1 : 0));
      return;
    }
    const segment = here().segments[used], number = segment[y * width + x];
    // A segment of which less than half is marked is added; else it is taken away.
    let all = 0, on = 0;
    segment.forEach((s, i) => { if (s === number) { all += 1; on += here().mask[i]; } });
    change((mask) => segment.forEach((s, i) => { if (s === number) mask[i] = 2 * on < all ? 1 : 0; }));
  }

  function pixel(event) {
    const box = $("stage").getBoundingClientRect();
    const at = (part, size, n) => Math.max(0, Math.min(n - 1, Math.floor((part / size) * n)));
    return { x: at(event.clientX - box.left, box.width, width), y: at(event.clientY - box.top, box.height, height) };
  }

  function cleared(id) {
    const canvas = $(id);
    canvas.width = width * SCALE;
    canvas.height = height * SCALE;
    return canvas.getContext("2d");
  }

  // Outline of the pixels for which `inside` holds, as a path of the pen.
  function outline(pen, inside) {
    const off = (x, y) => x < 0 || y < 0 || x >= width || y >= height || !inside(y * width + x);
    const line = (a, b, c, d) => { pen.moveTo(a * SCALE, b * SCALE); pen.lineTo(c * SCALE, d * SCALE); };
    pen.beginPath();
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!inside(y * width + x)) continue;
        if (off(x - 1, y)) line(x, y, x, y + 1);
        if (off(x + 1, y)) line(x + 1, y, x + 1, y + 1);
        if (off(x, y - 1)) line(x, y, x + 1, y);
        if (off(x, y + 1)) line(x, y + 1, x + 1, y + 1);
      }
    }
  }

  function marks() {
    const pen = cleared("marks"), { mask } = here();
    if (!$("show").checked) return;
    pen.fillStyle = "rgba(255, 90, 0, 0.22)";
    mask.forEach((v, i) => { if (v) pen.fillRect((i % width) * SCALE, Math.floor(i / width) * SCALE, SCALE, SCALE); });
    outline(pen, (i) => mask[i]);
    pen.strokeStyle = "#ffd400";
    pen.lineWidth = 1.6;
    pen.stroke();
  }

  // What the tool would touch: the segment or the disc at the pointer, or at the cross of the keys.
  function pointer() {
    const pen = cleared("pointer"), at = cross ?? hover, segment = here().segments[tool()];
    const twice = (light) => {
      for (const [colour, w] of [["#000", 3.5], [light, 1.5]]) { pen.strokeStyle = colour; pen.lineWidth = w; pen.stroke(); }
    };
    if (!at) return;
    const [x, y] = [(at.x + 0.5) * SCALE, (at.y + 0.5) * SCALE];
    if (segment) {
      const number = segment[at.y * width + at.x];
      outline(pen, (i) => segment[i] === number);
    } else {
      pen.beginPath();
      pen.arc(x, y, (Number($("width").value) / 2 + 0.5) * SCALE, 0, 7);
    }
    twice("#6fe0ff");
    if (!cross) return;
    pen.beginPath();
    pen.moveTo(x - 14, y); pen.lineTo(x + 14, y); pen.moveTo(x, y - 14); pen.lineTo(x, y + 14);
    twice("#fff");
  }

  function draw() {
    const tile = here(), count = tile.mask.reduce((sum, v) => sum + v, 0);
    $("name").textContent = `Tile ${tile.patch}, ${current + 1} of ${tiles.length}`;
    $("reason").textContent = `Chosen because ${tile.reason}.`;
    const at = cross ? ` Cross at row ${cross.y}, column ${cross.x}: ${tile.mask[cross.y * width + cross.x] ? "landslide" : "no landslide"}.` : "";
    $("status").textContent = `${count.toLocaleString("en")} pixels marked${tile.done ? ", done" : ", not done yet"}.${at}`;
    $("width-value").textContent = `${$("width").value} px`;
    $("undo").disabled = !tile.undo.length;
    $("redo").disabled = !tile.redo.length;
    const done = tiles.filter((t) => t.done).length;
    const all = done === tiles.length ? ": save the labels" : "";
    $("progress").textContent = `${done} of ${tiles.length} tiles done${all}.`;
    $("bar").value = done / tiles.length;
    $("picture").style.filter = `brightness(${$("light").value}%)`;
    $("save").disabled = !done;
    [...$("tiles").children].forEach((item, i) => {
      item.setAttribute("aria-current", String(i === current));
      item.className = tiles[i].done ? "done" : "";
      item.firstChild.setAttribute("aria-label", `Tile ${tiles[i].patch}${tiles[i].done ? ", done" : ""}`);
    });
    marks();
    pointer();
  }

  function picture() {
    const image = new Image();
    const wanted = [current, layer];
    image.onload = () => {
      if (wanted[0] !== current || wanted[1] !== layer) return;
      const canvas = $("picture");
      canvas.width = width;
      canvas.height = height;
      canvas.getContext("2d").drawImage(image, 0, 0);
    };
    image.src = here().pictures[layer];
  }

  function show(i) {
    current = (i + tiles.length) % tiles.length;
    remember();
    picture();
    draw();
    $("tiles").children[current].scrollIntoView({ block: "nearest" });
  }

  function finish() {
    here().done = true;
    const later = tiles.findIndex((t, i) => i > current && !t.done);
    const open = later >= 0 ? later : tiles.findIndex((t) => !t.done);
    show(open >= 0 ? open : current);
  }

  function chooseLayer(i) {
    if (i >= info.layers.length) return;
    layer = i;
    document.querySelectorAll("input[name=layer]")[i].checked = true;
    picture();
  }

  function save() {
    const labels = {
      format: info.format, version: info.version, run: info.run, models: info.models, split: info.split, size: info.size,
      tiles: tiles.filter((t) => t.done).map((t) => ({ patch: t.patch, runs: encode(t.mask), reason: t.reason, content: t.content })),
    };
    if (!labels.tiles.length) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(labels)], { type: "application/json" }));
    link.download = `labels-${info.split}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const setTool = (name) => { document.querySelector(`input[name=tool][value=${name}]`).checked = true; pointer(); };
  const move = (id, by) => { $(id).value = Number($(id).value) + by; draw(); };
  const actions = {
    q: () => setTool("small"), w: () => setTool("large"), b: () => setTool("brush"), e: () => setTool("erase"),
    "[": () => move("width", -1), "]": () => move("width", 1), "-": () => move("light", -25), "+": () => move("light", 25),
    "?": () => { $("help").open = !$("help").open; },
    h: () => { $("show").checked = !$("show").checked; marks(); },
    z: () => step("undo", "redo"), y: () => step("redo", "undo"),
    n: () => { change((mask) => mask.fill(0)); }, r: () => { change((mask) => mask.set(here().start)); },
    Enter: finish, ",": () => show(current - 1), ".": () => show(current + 1), s: save,
    1: () => chooseLayer(0), 2: () => chooseLayer(1), 3: () => chooseLayer(2),
  };
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, summary");
    const pressed = event.target.matches("button") && (event.key === "Enter" || event.key === " ");
    const undoing = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if ((event.ctrlKey || event.metaKey || event.altKey) && !undoing) return;
    const way = MOVES[event.key];
    if ((way || event.key === " ") && !typing && !pressed) {
      event.preventDefault();
      cross ??= hover ?? { x: width >> 1, y: height >> 1 };
      if (way) {
        const by = event.shiftKey ? 8 : 1;
        cross = { x: Math.max(0, Math.min(width - 1, cross.x + by * way[0])), y: Math.max(0, Math.min(height - 1, cross.y + by * way[1])) };
        draw();
      } else mark(cross);
      return;
    }
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = undoing && event.shiftKey ? actions.y : actions[name];
    if (!action || pressed || (typing && event.target.type === "range" && name.startsWith("Arrow"))) return;
    event.preventDefault();
    action();
  });

  const stage = $("stage");
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    cross = null;
    const at = pixel(event), used = tool();
    if (used === "small" || used === "large") { mark(at); return; }
    stage.setPointerCapture(event.pointerId);
    stroke = { last: at, before: here().mask.slice(), value: used === "brush" ? 1 : 0 };
    paint(here().mask, at.x, at.y, stroke.value);
    marks();
  });
  stage.addEventListener("pointermove", (event) => {
    const at = pixel(event);
    [hover, cross] = [at, null];
    pointer();
    if (!stroke) return;
    along(here().mask, stroke.last, at, stroke.value);
    stroke.last = at;
    marks();
  });
  stage.addEventListener("pointerleave", () => { hover = null; pointer(); });
  const lift = () => {
    if (!stroke) return;
    const made = here().mask;
    here().mask = stroke.before;
    stroke = null;
    change((mask) => mask.set(made));
  };
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);

  info.layers.forEach((name, i) => {
    const label = document.createElement("label"), input = document.createElement("input"), sign = document.createElement("kbd");
    Object.assign(input, { type: "radio", name: "layer", checked: i === 0 });
    input.addEventListener("change", () => chooseLayer(i));
    sign.textContent = String(i + 1);
    label.append(input, ` ${name} `, sign);
    $("layers").append(label);
  });
  tiles.forEach((tile, i) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    const small = Object.assign(new Image(36, 36), { src: tile.pictures[0], alt: "" });
    button.append(small, `Tile ${tile.patch}`);
    button.addEventListener("click", () => show(i));
    item.append(button);
    $("tiles").append(item);
  });
  for (const [id, name] of [["undo", "z"], ["redo", "y"], ["empty", "n"], ["reset", "r"], ["done", "Enter"], ["previous", ","], ["next", "."], ["save", "s"]]) {
    // After a click of the mouse, Enter is for the tile again; of the keyboard, the button keeps it.
    $(id).addEventListener("click", (event) => { actions[name](); if (event.detail) $("stage").focus({ preventScroll: true }); });
  }
  $("show").addEventListener("change", marks);
  for (const id of ["width", "light"]) $(id).addEventListener("input", draw);
  recall();
  show(current);
})();
