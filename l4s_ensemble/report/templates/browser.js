/* The page of tiles: what is shown stands in the address, so that a view can be kept and sent. */
"use strict";
(function () {
  const L4S = window.L4S;
  const root = document.querySelector(".browser");
  if (!root || !L4S.told) return;
  const { told, words } = L4S;
  const t = told.tiles;
  const $ = (name) => root.querySelector(`[data-part="${name}"]`);
  const byPatch = new Map(t.patch.map((p, i) => [p, i]));
  const keys = new Set(L4S.layers().map((l) => l.key));
  const main = told.models.at(-1).key;

  const usual = {
    tile: null, left: "colour", right: told.has_truth ? "errors" : main, mode: "swipe", mix: 50,
    pixel: [told.size[0] >> 1, told.size[1] >> 1], zoom: null, cut: null,
    lines: [], sort: t.tp ? "wrong" : "called", turned: false, show: "all", scene: "", fold: "",
    least: "", most: "", thumbs: "colour",
  };
  const state = { ...usual };
  let order = [];
  let now = null; // {i, tile, called}
  let token = 0;

  // --- the address ---
  const numbers = (text, n) => {
    const found = text.split(".").map(Number);
    return found.length === n && found.every(Number.isFinite) ? found : null;
  };
  const one = (text, known, otherwise) => (known.includes(text) ? text : otherwise);

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const get = (name) => asked.get(name) || "";
    Object.assign(state, usual);
    const patch = Number(get("tile"));
    state.tile = asked.has("tile") && byPatch.has(patch) ? patch : null;
    state.left = one(get("left"), [...keys], usual.left);
    state.right = one(get("right"), [...keys], usual.right);
    state.mode = one(get("mode"), ["swipe", "blend"], usual.mode);
    if (asked.has("mix")) state.mix = Math.min(100, Math.max(0, Number(get("mix")) || 0));
    const pixel = numbers(get("at"), 2);
    if (pixel && pixel.every((v, n) => Number.isInteger(v) && v >= 0 && v < told.size[n])) {
      state.pixel = pixel;
    }
    const zoom = get("zoom").split("_").map(Number);
    if (zoom.length === 3 && zoom.every(Number.isFinite) && zoom[0] > 1) state.zoom = zoom;
    const cut = Number(get("cut"));
    if (asked.has("cut") && cut > 0 && cut < 1) state.cut = cut;
    state.lines = get("lines").split(".").filter((l) => ["truth", "called"].includes(l));
    state.sort = one(get("sort"), Object.keys(L4S.sorts(t)), usual.sort);
    state.turned = get("turned") === "1";
    state.show = one(get("show"), Object.keys(L4S.kinds(t)), usual.show);
    for (const name of ["scene", "fold"]) {
      if (t[name] && t[name].includes(Number(get(name)))) state[name] = get(name);
    }
    for (const name of ["least", "most"]) if (/^\d+$/.test(get(name))) state[name] = get(name);
    state.thumbs = one(get("thumbs"), ["colour", "errors"], usual.thumbs);
    return asked.has("tile") && state.tile === null ? get("tile") : null;
  }

  function written() {
    const out = new URLSearchParams();
    const shown = now ? t.patch[now.i] : state.tile;
    if (shown !== null) out.set("tile", shown);
    out.set("left", state.left);
    out.set("right", state.right);
    if (state.mode !== usual.mode) out.set("mode", state.mode);
    if (state.mix !== usual.mix) out.set("mix", Math.round(state.mix * 10) / 10);
    if (String(state.pixel) !== String(usual.pixel)) out.set("at", state.pixel.join("."));
    if (state.zoom) {
      const [scale, u, v] = state.zoom;
      out.set("zoom", [scale.toFixed(2), u.toFixed(3), v.toFixed(3)].join("_"));
    }
    if (state.cut !== null) out.set("cut", state.cut);
    if (state.lines.length) out.set("lines", state.lines.join("."));
    for (const name of ["sort", "show", "scene", "fold", "least", "most", "thumbs"]) {
      if (state[name] !== usual[name]) out.set(name, state[name]);
    }
    if (state.turned) out.set("turned", "1");
    return `#${out}`;
  }

  let later = 0;
  function remember() {
    clearTimeout(later);
    later = setTimeout(() => {
      const hash = written();
      $("link").href = hash;
      try {
        history.replaceState(null, "", hash);
      } catch (e) { /* a browser that will not for files: the link still has it */ }
    }, 120);
  }

  // --- the bar ---
  const options = (name, entries, first) => {
    const select = $(name);
    if (!select) return;
    select.replaceChildren(...(first ? [new Option(first, "")] : []),
      ...entries.map(([key, label]) => new Option(label, key)));
  };
  const distinct = (values) => [...new Set(values)].filter((v) => v >= 0).sort((a, b) => a - b);
  options("sort", Object.entries(L4S.sorts(t)).map(([k, s]) => [k, s.name]));
  options("show", Object.entries(L4S.kinds(t)).map(([k, s]) => [k, s.name]));
  for (const [name, one_] of [["scene", "all scenes"], ["fold", "all folds"]]) {
    const found = t[name] ? distinct(t[name]) : [];
    options(name, found.map((v) => [v, `${name} ${v}`]), one_);
    if ($(name)) $(name).closest("label").hidden = found.length < 2;
  }

  function syncBar() {
    for (const name of ["sort", "show", "scene", "fold", "least", "most"]) {
      if ($(name)) $(name).value = state[name];
    }
    const down = L4S.sorts(t)[state.sort].down !== state.turned;
    $("turn").textContent = down ? "\u2193" : "\u2191";
    $("turn").setAttribute("aria-label",
      `${down ? "Largest" : "Smallest"} first; turn the order round`);
    for (const radio of root.querySelectorAll('[name="thumbs"]')) {
      radio.checked = radio.value === state.thumbs;
    }
    const narrowed = ["sort", "turned", "show", "scene", "fold", "least", "most"]
      .some((name) => state[name] !== usual[name]);
    $("reset").hidden = !narrowed;
  }

  function arrange() {
    order = L4S.arranged(state);
    $("count").textContent = `${words.count(order.length)} of ${words.count(t.patch.length)} `
      + `tile${t.patch.length === 1 ? "" : "s"}`;
    $("nothing").hidden = order.length > 0;
    syncBar();
    list.arrange(order);
    steps();
    remember();
  }

  // --- a tile ---
  const list = L4S.list($("list"), (i) => choose(i));
  const stage = L4S.stage(root, state, { changed: remember, looked });

  function steps() {
    const n = list.place();
    $("previous").disabled = !order.length || n === 0;
    $("next").disabled = !order.length || n === order.length - 1;
    $("where").textContent = n === undefined ? "" : `${words.count(n + 1)} of ${words.count(order.length)}`;
  }

  async function choose(i) {
    const own = ++token;
    const patch = t.patch[i];
    list.select(i);
    steps();
    $("fault").hidden = true;
    root.classList.add("loading");
    try {
      const [tile, photos] = await Promise.all([L4S.readTile(patch), L4S.readPhotos(patch)]);
      if (own !== token) return;
      now = { i, tile, called: null };
      state.tile = patch;
      stage.show(tile, photos);
      describe();
      root.dataset.tile = patch;
      ahead(i);
    } catch (error) {
      if (own !== token) return;
      $("fault").hidden = false;
      $("fault").textContent = `Tile ${patch} cannot be shown: ${error.message}.`;
    } finally {
      if (own === token) root.classList.remove("loading");
    }
    remember();
  }

  // The next tile in the order is read while this one is looked at.
  function ahead(i) {
    const n = order.indexOf(i);
    if (n >= 0 && n + 1 < order.length) {
      const next = t.patch[order[n + 1]];
      L4S.readTile(next).catch(() => {});
      L4S.readPhotos(next).catch(() => {});
    }
  }

  function describe() {
    const { i, tile } = now;
    now.called = stage.called();
    now.cut = state.cut ?? (t.threshold ? t.threshold[i] : told.threshold);
    $("name").textContent = `Tile ${tile.patch}`;
    const parts = [];
    if (t.scene && t.scene[i] >= 0) {
      parts.push(`scene ${t.scene[i]}, row ${t.row[i]}, column ${t.col[i]}`);
    }
    if (t.fold && t.fold[i] >= 0) parts.push(`fold ${t.fold[i]}`);
    let [tp, fp, fn, n] = [0, 0, 0, 0];
    now.called.forEach((c, k) => {
      n += c;
      if (c && tile.truth[k]) tp += 1;
      else if (c) fp += 1;
      else if (tile.truth[k]) fn += 1;
    });
    if (told.has_truth) {
      parts.push(`${words.count(tp)} px found, ${words.count(fn)} missed, ${words.count(fp)} false`);
      if (tp + fn) parts.push(`F1 ${words.score((2 * tp) / (2 * tp + fp + fn))}`);
    } else parts.push(`${words.count(n)} px called landslide`);
    const hectare = (n * told.pixel_m ** 2) / 10000;
    parts.push(`${words.number(hectare)} ha called`);
    $("told").textContent = parts.join(" · ");
    $("cut").value = now.cut;
    $("cut-value").textContent = words.score(now.cut);
    $("cut-back").hidden = state.cut === null;
    $("cut-told").textContent = state.cut === null ? "in use" : "moved here only";
    $("neighbours").closest(".around").hidden = !L4S.neighbours($("neighbours"), i, state.thumbs, choose);
    looked(state.pixel, "back");
  }

  function looked(pixel, why) {
    if (!now) return;
    $("where-pixel").textContent = `Row ${pixel[0]}, column ${pixel[1]}`;
    L4S.pixelTable($("pixel"), now, pixel);
    if (why === "keys") $("spoken").textContent = L4S.pixelSpoken(now, pixel);
  }

  // --- wires ---
  for (const name of ["sort", "show", "scene", "fold", "least", "most"]) {
    if (!$(name)) continue;
    $(name).addEventListener("change", () => {
      state[name] = $(name).value;
      if (name === "sort") state.turned = false;
      arrange();
    });
  }
  root.querySelector("form").addEventListener("submit", (e) => e.preventDefault());
  $("turn").addEventListener("click", () => { state.turned = !state.turned; arrange(); });
  $("reset").addEventListener("click", () => {
    for (const name of ["sort", "turned", "show", "scene", "fold", "least", "most"]) {
      state[name] = usual[name];
    }
    arrange();
  });
  root.querySelectorAll('[name="thumbs"]').forEach((r) => r.addEventListener("change", () => {
    state.thumbs = r.value;
    list.pictures(r.value);
    if (now) L4S.neighbours($("neighbours"), now.i, state.thumbs, choose);
    remember();
  }));
  $("previous").addEventListener("click", () => list.step(-1));
  $("next").addEventListener("click", () => list.step(1));
  $("cut").addEventListener("input", () => {
    state.cut = Math.min(0.999, Math.max(0.001, Number($("cut").value)));
    stage.draw();
    describe();
    remember();
  });
  $("cut-back").addEventListener("click", () => {
    state.cut = null;
    stage.draw();
    describe();
    remember();
    $("cut").focus();
  });

  function start() {
    const missing = read();
    list.pictures(state.thumbs);
    arrange();
    stage.sync();
    stage.restore();
    const first = state.tile === null ? order[0] : byPatch.get(state.tile);
    if (missing !== null) {
      $("fault").hidden = false;
      $("fault").textContent = `Tile ${missing} is not among the tiles of this page.`;
    }
    if (first !== undefined) choose(first).then(() => { if (missing !== null) $("fault").hidden = false; });
  }
  window.addEventListener("hashchange", start);
  start();
})();
