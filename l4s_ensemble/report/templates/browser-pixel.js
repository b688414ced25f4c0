/* What is known of a pixel, and the tile's neighbours in the scene. */
"use strict";
(function () {
  const L4S = window.L4S;
  const { words } = L4S;
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
  L4S.pixelTable = (box, { tile, called, cut }, [y, x]) => {
    const told = L4S.told;
    const i = y * told.size[1] + x;
    const main = told.models.at(-1).key;
    box.replaceChildren();
    const row = (name, value, more) => {
      const line = make("div");
      const dd = make("dd");
      dd.append(value);
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
      row(m.name, words.chance(p), bar(p, `var(--${m.key})`, m.key === main ? cut : undefined));
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
