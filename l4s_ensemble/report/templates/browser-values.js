/* What is known of a pixel, and the tile's neighbours in the scene. */
"use strict";
(function () {
  const L4S = window.L4S;
  const { words } = L4S;
  const STRONGEST = 12; // contributions shown of a pixel
  const VERDICTS = { found: "found", missed: "missed", false: "false alarm", "": "no landslide" };

  const make = (tag, name, text) => {
    const e = document.createElement(tag);
    if (name) e.className = name;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  function bar(share, colour, cut) {
    const track = make("span", "bar");
    const fill = make("i");
    fill.style.width = `${100 * share}%`;
    fill.style.background = colour;
    track.append(fill);
    if (cut !== undefined) {
      const tick = make("b");
      tick.style.left = `${100 * cut}%`;
      track.append(tick);
    }
    return track;
  }

  // Probabilities, doubt and what is right, of one pixel.
  L4S.pixelTable = (box, { tile, values, called, cut }, [y, x]) => {
    const told = L4S.told;
    const i = y * told.size[1] + x;
    const main = told.models.at(-1).key;
    box.replaceChildren();
    const row = (name, value, more) => {
      const line = make("div");
      const dd = make("dd");
      dd.append(...[value].flat());
      line.append(make("dt", "", name), dd);
      if (more) {
        const track = make("dd", "gauge");
        track.append(more);
        line.append(track);
      }
      box.append(line);
    };
    for (const m of told.models) {
      const p = tile.planes[m.key][i] / 255;
      const logit = values && values.logits.find((l) => l.name === m.key);
      const value = [words.chance(p)];
      if (logit) value.push(make("small", "", ` logit ${words.signed(logit.of(i))}`));
      row(m.name, value, bar(p, `var(--${m.key})`, m.key === main ? cut : undefined));
    }
    if (told.doubt) {
      const d = tile.planes.doubt[i] / 255;
      row("uncertainty", words.chance(d), bar(d, "var(--mean)"));
    }
    const verdict = L4S.verdict(told.has_truth && tile.truth[i], called[i]);
    if (told.has_truth) row("truth", tile.truth[i] ? "landslide" : "no landslide");
    row("called", called[i] ? "landslide" : "no landslide");
    if (!told.has_truth) return;
    const line = make("div", "verdict");
    const mark = make("i");
    mark.style.background = verdict ? L4S.css.colour(verdict) : "none";
    const said = make("dd");
    said.append(mark, verdict ? VERDICTS[verdict] : "rightly left out");
    line.append(make("dt", "unseen", "so it is"), said);
    box.append(line);
  };

  L4S.pixelSpoken = ({ tile, called }, [y, x]) => {
    const told = L4S.told;
    const i = y * told.size[1] + x;
    const each = told.models.map((m) => `${m.name} ${words.chance(tile.planes[m.key][i] / 255)}`);
    const right = told.has_truth
      ? VERDICTS[L4S.verdict(tile.truth[i], called[i])] : called[i] ? "called landslide" : "not called";
    return `Row ${y}, column ${x}: ${each.join(", ")}, ${right}.`;
  };

  // Bands, contributions and features of one pixel.
  L4S.allValues = (parts, values, [y, x]) => {
    const i = y * L4S.told.size[1] + x;
    const bands = values.bands.map((b) => [b, b.of(i)]);
    const brightest = Math.max(1e-9, ...values.bands.map((b, n) => (b.unit === "°" || b.unit === "m" ? 0 : bands[n][1])));
    parts.bands.replaceChildren(...bands.map(([b, v]) => {
      const tr = make("tr");
      const td = make("td", "", words.number(v));
      const light = b.unit !== "°" && b.unit !== "m";
      const last = make("td", "grow");
      if (light) last.append(bar(v / brightest, "var(--other)"));
      tr.append(Object.assign(make("th", "", b.name), { scope: "row" }), td, make("td", "unit", b.unit), last);
      return tr;
    }));
    if (!values.features) return;
    const k = Math.floor(y / values.stride) * values.stridedWidth + Math.floor(x / values.stride);
    const all = values.features.map((f) => ({ ...f, value: f.of(k), adds: f.adds(k) }));
    const strongest = [...all].sort((a, b) => Math.abs(b.adds) - Math.abs(a.adds)).slice(0, STRONGEST);
    const others = all.reduce((sum, f) => sum + f.adds, values.restAdds(k))
      - strongest.reduce((sum, f) => sum + f.adds, 0);
    const most = Math.max(0.05, Math.abs(others), ...strongest.map((f) => Math.abs(f.adds)));
    const lines = strongest.map((f) => ({ name: f.name, adds: f.adds }));
    const nOthers = all.length - strongest.length + values.rest[0];
    lines.push({ name: `${words.count(nOthers)} other features`, adds: others });
    parts.adds.replaceChildren(...lines.map((f) => {
      const li = make("li");
      const track = make("span", "two");
      const fill = make("i", f.adds >= 0 ? "for" : "against");
      fill.style.width = `${(50 * Math.abs(f.adds)) / most}%`;
      track.append(fill);
      li.append(make("span", "name", f.name), track, make("span", "value", words.signed(f.adds)));
      return li;
    }));
    const sum = all.reduce((total, f) => total + f.adds, values.restAdds(k)) + values.start;
    const oddly = values.stride > 1 ? `row ${Math.floor(y / values.stride) * values.stride}, column ${Math.floor(x / values.stride) * values.stride}` : "here";
    parts.sum.textContent = `The sum starts at ${words.signed(values.start)} and comes to `
      + `${words.signed(sum)} log-odds: a probability of ${words.chance(1 / (1 + Math.exp(-sum)))} `
      + `by the model of fold ${values.fold}, at ${oddly}.`;
    parts.features.replaceChildren(...[...all].sort((a, b) => Math.abs(b.adds) - Math.abs(a.adds)).map((f) => {
      const tr = make("tr");
      tr.append(
        Object.assign(make("th", "", f.name), { scope: "row" }),
        make("td", "", words.number(f.value)), make("td", "unit", f.unit),
        make("td", "", words.signed(f.adds)), make("td", "unit", f.group),
      );
      return tr;
    }));
  };

  // Three by three thumbnails around a tile; the ones that are there can be gone to.
  L4S.neighbours = (box, i, kind, chosen) => {
    const t = L4S.told.tiles;
    box.replaceChildren();
    if (!t.scene || t.scene[i] < 0) return false;
    L4S.byPlace = L4S.byPlace
      || new Map(t.patch.map((_, n) => [`${t.scene[n]}/${t.row[n]}/${t.col[n]}`, n]));
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const n = L4S.byPlace.get(`${t.scene[i]}/${t.row[i] + dy}/${t.col[i] + dx}`);
        if (n === undefined) {
          box.append(make("span", "none"));
          continue;
        }
        const e = make("button", dy || dx ? "" : "own");
        e.type = "button";
        e.setAttribute("aria-label", dy || dx ? L4S.spoken(n) : `${L4S.spoken(n)}, shown`);
        e.title = `tile ${t.patch[n]}`;
        L4S.thumbnail(e, n, kind);
        e.append(make("span", "", t.patch[n]));
        if (dy || dx) e.addEventListener("click", () => chosen(n));
        else e.disabled = true;
        box.append(e);
      }
    }
    return true;
  };
})();
