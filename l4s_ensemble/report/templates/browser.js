/* The page of tiles: what is shown stands in the address, so that a view can be kept and sent. */
"use strict";
(function () {
  const L4S = window.L4S;
  const root = document.querySelector(".browser");
  if (!root || !L4S.info) return;
  const { info, words } = L4S;
  const t = info.tiles;
  const $ = (name) => root.querySelector(`[data-part="${name}"]`);
  const byPatch = new Map(t.patch.map((p, i) => [p, i]));
  const layers = L4S.layers().map((l) => l.key);
  const VERDICTS = { found: "found", missed: "missed", false: "false alarm", "": "rightly left out" };

  const usual = {
    tile: null, left: "colour", right: info.has_reference ? "errors" : info.models.at(-1).key,
    mode: "swipe", mix: 50, at: [info.size[0] >> 1, info.size[1] >> 1], zoom: null, threshold: null,
    lines: [], sort: t.tp ? "wrong" : "predicted", turned: "", show: "all", scene: "", fold: "",
    thumbs: "colour",
  };
  const BAR = ["sort", "turned", "show", "scene", "fold"];
  const state = { ...usual };
  let order = [];
  let now = null; // {i, tile, predicted}
  let token = 0;

  // --- the address ---
  const distinct = (name) => [...new Set(t[name] || [])].filter((v) => v >= 0).sort((a, b) => a - b);
  const oneOf = (known) => (text) => (known.map(String).includes(text) ? text : undefined);
  const number = (least, most) => (text) => {
    const v = Number(text);
    return v >= least && v <= most ? v : undefined;
  };
  const numbers = (within) => (text) => {
    const found = text.split("_").map(Number);
    return found.length === within.length && found.every((v, n) => v >= 0 && v < within[n])
      ? found : undefined;
  };
  const whole = (found) => (found && found.every(Number.isInteger) ? found : undefined);
  // What a part of the state may be, from its text.
  const READ = {
    tile: (text) => (byPatch.has(Number(text)) ? Number(text) : undefined),
    left: oneOf(layers), right: oneOf(layers), mode: oneOf(["swipe", "blend"]), mix: number(0, 100),
    at: (text) => whole(numbers(info.size)(text)), zoom: numbers([99, 1, 1]), threshold: number(0.001, 0.999),
    lines: (text) => text.split("_").filter((l) => l === "predicted" || (l === "reference" && info.has_reference)),
    sort: oneOf(Object.keys(L4S.sorts(t))), turned: oneOf(["yes"]),
    show: oneOf(Object.keys(L4S.kinds(t))), scene: oneOf(distinct("scene")),
    fold: oneOf(distinct("fold")), thumbs: oneOf(["colour", "errors"]),
  };

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const [name, otherwise] of Object.entries(usual)) {
      state[name] = (asked.has(name) ? READ[name](asked.get(name)) : undefined) ?? otherwise;
    }
    return state.tile === null ? asked.get("tile") : null;
  }

  let later = 0;
  function remember() {
    clearTimeout(later);
    later = setTimeout(() => {
      const out = new URLSearchParams();
      for (const [name, value] of Object.entries(state)) {
        if (String(value) !== String(usual[name])) out.set(name, [value].flat().join("_"));
      }
      $("link").href = `#${out}`;
      try {
        history.replaceState(null, "", `#${out}`);
      } catch (e) { /* a browser that will not for files: the link still has it */ }
    }, 120);
  }

  // --- the bar ---
  const options = (name, entries) => {
    $(name).replaceChildren(...entries.map(([key, label]) => new Option(label, key)));
  };
  options("sort", Object.entries(L4S.sorts(t)).map(([k, s]) => [k, s.name]));
  options("show", Object.entries(L4S.kinds(t)).map(([k, s]) => [k, s.name]));
  for (const name of ["scene", "fold"]) {
    const found = distinct(name);
    options(name, [["", `all ${name}s`], ...found.map((v) => [v, `${name} ${v}`])]);
    $(name).closest("label").hidden = found.length < 2;
  }

  function arrange() {
    order = L4S.arranged(state);
    const total = t.patch.length;
    $("count").textContent = `${words.count(order.length)} of ${words.count(total)} tile${total === 1 ? "" : "s"}`;
    $("nothing").hidden = order.length > 0;
    for (const name of BAR) if ($(name)) $(name).value = state[name];
    const down = L4S.sorts(t)[state.sort].down !== (state.turned === "yes");
    $("turn").textContent = down ? "\u2193" : "\u2191";
    $("turn").setAttribute("aria-label", `${down ? "Largest" : "Smallest"} first; turn the order round`);
    for (const radio of root.querySelectorAll('[name="thumbs"]')) radio.checked = radio.value === state.thumbs;
    $("reset").hidden = BAR.every((name) => state[name] === usual[name]);
    list.arrange(order);
    steps();
    remember();
  }

  // --- a tile ---
  const list = L4S.list($("list"), choose);
  const stage = L4S.stage(root.querySelector(".stage"), state, { changed: remember, looked });

  function steps() {
    const n = list.place();
    $("previous").disabled = !order.length || n === 0;
    $("next").disabled = !order.length || n === order.length - 1;
    $("where").textContent = n < 0 ? "" : `${words.count(n + 1)} of ${words.count(order.length)}`;
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
      now = { i, tile };
      state.tile = patch;
      stage.show(tile, photos);
      describe();
      root.dataset.tile = patch;
      ahead(order[order.indexOf(i) + 1]);
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
    if (i === undefined) return;
    L4S.readTile(t.patch[i]).catch(() => {});
    L4S.readPhotos(t.patch[i]).catch(() => {});
  }

  function describe() {
    const { i, tile } = now;
    now.predicted = stage.predicted();
    const threshold = state.threshold ?? (t.threshold ? t.threshold[i] : info.threshold);
    $("name").textContent = `Tile ${tile.patch}`;
    const parts = [];
    if (t.scene && t.scene[i] >= 0) parts.push(L4S.spot(i));
    if (t.fold && t.fold[i] >= 0) parts.push(`fold ${t.fold[i]}`);
    const n = { found: 0, missed: 0, false: 0, "": 0 };
    now.predicted.forEach((c, k) => { n[L4S.verdict(info.has_reference && tile.reference[k], c)] += 1; });
    if (info.has_reference) {
      parts.push(`${words.count(n.found)} pixels found, ${words.count(n.missed)} missed, ${words.count(n.false)} false`);
      if (n.found + n.missed) {
        parts.push(`F1 ${words.score((2 * n.found) / (2 * n.found + n.false + n.missed))}`);
      }
    }
    parts.push(`${words.number(((n.found + n.false) * info.pixel_m ** 2) / 10000)} ha predicted`);
    $("summary").textContent = parts.join(" · ");
    $("threshold").value = threshold;
    $("threshold-value").textContent = words.score(threshold);
    $("threshold-back").hidden = state.threshold === null;
    $("threshold-note").textContent = state.threshold === null ? "in use" : "moved here only";
    neighbours();
    looked(state.at, "back");
  }

  // The values of the layers at a pixel, and what is right.
  function looked([y, x], why) {
    if (!now) return;
    const { tile, predicted } = now;
    const k = y * info.size[1] + x;
    const landslide = (on) => (on ? "landslide" : "no landslide");
    const rows = info.models.map((m) => [m.name, words.chance(tile.planes[m.key][k] / 255)]);
    if (info.uncertainty) rows.push(["uncertainty", words.chance(tile.planes.uncertainty[k] / 255)]);
    rows.push(["predicted", landslide(predicted[k])]);
    if (info.has_reference) {
      rows.push(["reference", landslide(tile.reference[k])], ["so it is", VERDICTS[L4S.verdict(tile.reference[k], predicted[k])]]);
    }
    $("where-pixel").textContent = `Row ${y}, column ${x}`;
    $("pixel").replaceChildren(...rows.map(([name, value]) => {
      const line = document.createElement("div");
      line.append(Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }));
      return line;
    }));
    if (why === "keys") $("spoken").textContent = `Row ${y}, column ${x}: ${rows.map((r) => r.join(" ")).join(", ")}.`;
  }

  // Three by three thumbnails around the tile; those that are there can be gone to.
  const places = new Map(t.scene && t.patch.map((_, n) => [`${t.scene[n]}/${t.row[n]}/${t.col[n]}`, n]));
  function neighbours() {
    const { i } = now;
    const known = t.scene && t.scene[i] >= 0;
    $("neighbours").closest(".around").hidden = !known;
    const steps_ = known ? [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dy, dx])) : [];
    $("neighbours").replaceChildren(...steps_.map(([dy, dx]) => {
      const n = places.get(`${t.scene[i]}/${t.row[i] + dy}/${t.col[i] + dx}`);
      const e = document.createElement(n === undefined ? "span" : "button");
      e.className = n === undefined ? "none" : n === i ? "own" : "";
      if (n === undefined) return e;
      Object.assign(e, { type: "button", disabled: n === i, title: `tile ${t.patch[n]}` });
      e.setAttribute("aria-label", L4S.spoken(n));
      L4S.thumbnail(e, n, state.thumbs);
      e.append(Object.assign(document.createElement("span"), { textContent: t.patch[n] }));
      e.addEventListener("click", () => choose(n));
      return e;
    }));
  }

  // --- wires ---
  const form = root.querySelector("form");
  form.addEventListener("submit", (e) => e.preventDefault());
  form.addEventListener("change", (e) => {
    const { name, value } = e.target;
    if (name === "thumbs") {
      state.thumbs = value;
      list.pictures(value);
      if (now) neighbours();
      remember();
      return;
    }
    state[e.target.dataset.part] = value;
    if (e.target.dataset.part === "sort") state.turned = "";
    arrange();
  });
  $("turn").addEventListener("click", () => { state.turned = state.turned ? "" : "yes"; arrange(); });
  $("reset").addEventListener("click", () => {
    for (const name of BAR) state[name] = usual[name];
    arrange();
  });
  $("previous").addEventListener("click", () => list.step(-1));
  $("next").addEventListener("click", () => list.step(1));
  function setThreshold(value) {
    state.threshold = value;
    stage.draw();
    describe();
    remember();
  }
  $("threshold").addEventListener("input", () => setThreshold(Number($("threshold").value)));
  $("threshold-back").addEventListener("click", () => { setThreshold(null); $("threshold").focus(); });

  async function start() {
    const missing = read();
    list.pictures(state.thumbs);
    arrange();
    stage.sync();
    stage.restore();
    const first = state.tile === null ? order[0] : byPatch.get(state.tile);
    if (first !== undefined) await choose(first);
    if (missing === null) return;
    $("fault").hidden = false;
    $("fault").textContent = `Tile ${missing} is not among the tiles of this page.`;
  }
  window.addEventListener("hashchange", start);
  start();
})();
