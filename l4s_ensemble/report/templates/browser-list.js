/* The thumbnails: sorted, filtered, and made only where they are seen. */
"use strict";
(function () {
  const L4S = window.L4S;
  const { words } = L4S;
  const LEAST = 84; // width of a thumbnail, px
  const GAP = 8;
  const CAPTION = 19;
  const BEYOND = 2; // rows made above and below those seen

  // Columns that tiles are sorted by: name, value of tile i, whether the largest come first.
  L4S.sorts = (t) => {
    const wrong = t.fp && ((i) => t.fp[i] + t.fn[i]);
    const f1 = t.fp && ((i) => {
      const below = 2 * t.tp[i] + t.fp[i] + t.fn[i];
      return t.tp[i] + t.fn[i] > 0 && below ? (2 * t.tp[i]) / below : null;
    });
    return {
      ...(wrong && { wrong: { name: "wrong pixels", of: wrong, down: true } }),
      ...(f1 && { f1: { name: "F1", of: f1, down: false } }),
      ...(t.tp && { real: { name: "landslide pixels", of: (i) => t.tp[i] + t.fn[i], down: true } }),
      called: { name: "predicted pixels", of: (i) => t.called[i], down: true },
      ...(t.doubt && { doubt: { name: "mean uncertainty", of: (i) => t.doubt[i], down: true } }),
      ...(t.scene && {
        place: {
          name: "place in the scene", down: false,
          of: (i) => (t.scene[i] * 4096 + t.row[i]) * 4096 + t.col[i],
        },
      }),
      id: { name: "id", of: (i) => t.patch[i], down: false },
    };
  };

  // Kinds of tiles to show.
  L4S.kinds = (t) => ({
    all: { name: "all tiles", of: () => true },
    ...(t.tp && {
      real: { name: "with a landslide", of: (i) => t.tp[i] + t.fn[i] > 0 },
      none: { name: "without a landslide", of: (i) => t.tp[i] + t.fn[i] === 0 },
      missed: { name: "with missed pixels", of: (i) => t.fn[i] > 0 },
      false: { name: "with false alarms", of: (i) => t.fp[i] > 0 },
    }),
    called: { name: "with something predicted", of: (i) => t.called[i] > 0 },
  });

  // Positions of the tiles that a state asks for, in its order.
  L4S.arranged = (state) => {
    const t = L4S.told.tiles;
    const kind = L4S.kinds(t)[state.show];
    const sort = L4S.sorts(t)[state.sort];
    const size = (i) => (t.tp ? t.tp[i] + t.fn[i] : t.called[i]);
    const kept = t.patch.map((_, i) => i).filter((i) => kind.of(i)
      && (state.scene === "" || t.scene[i] === Number(state.scene))
      && (state.fold === "" || t.fold[i] === Number(state.fold))
      && (state.least === "" || size(i) >= Number(state.least))
      && (state.most === "" || size(i) <= Number(state.most)));
    const sign = sort.down !== state.turned ? -1 : 1;
    const value = new Map(kept.map((i) => [i, sort.of(i)]));
    return kept.sort((a, b) => {
      const [x, y] = [value.get(a), value.get(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  };

  // What is said of a tile below its thumbnail and to a screen reader.
  L4S.caption = (i) => {
    const t = L4S.told.tiles;
    if (!t.tp) return `${words.count(t.called[i])} px`;
    const f1 = L4S.sorts(t).f1.of(i);
    return f1 === null ? (t.fp[i] ? `${words.count(t.fp[i])} false` : "none") : `F1 ${f1.toFixed(2)}`;
  };
  L4S.spoken = (i) => {
    const t = L4S.told.tiles;
    const parts = [`Tile ${t.patch[i]}`];
    if (t.scene && t.scene[i] >= 0) {
      parts.push(`scene ${t.scene[i]} row ${t.row[i]} column ${t.col[i]}`);
    }
    if (t.tp) {
      parts.push(`${t.tp[i]} pixels found, ${t.fn[i]} missed, ${t.fp[i]} false`);
    } else parts.push(`${t.called[i]} pixels called landslide`);
    return parts.join(", ");
  };

  /* box: the scrolling listbox. chosen(i): a tile was chosen. */
  L4S.list = (box, chosen) => {
    const room = document.createElement("div");
    room.className = "room";
    room.setAttribute("role", "presentation");
    box.append(room);
    const made = new Map();
    let order = [];
    let at = new Map();
    let current = -1;
    let kind = "colour";
    let grid = { columns: 1, width: LEAST, height: LEAST, strip: false };

    function measure() {
      const strip = getComputedStyle(box).getPropertyValue("--strip").trim() === "1";
      const inner = box.clientWidth - GAP;
      const columns = strip ? order.length : Math.max(2, Math.floor(inner / (LEAST + GAP)));
      const width = strip ? LEAST : inner / columns - GAP;
      grid = { strip, columns: Math.max(1, columns), width, height: width + CAPTION };
      const rows = Math.ceil(order.length / grid.columns);
      room.style.height = `${GAP + rows * (grid.height + GAP)}px`;
      room.style.width = strip ? `${GAP + order.length * (width + GAP)}px` : "auto";
    }

    function spot(n) {
      const [row, column] = [Math.floor(n / grid.columns), n % grid.columns];
      return [GAP + column * (grid.width + GAP), GAP + row * (grid.height + GAP)];
    }

    function cell(n) {
      const i = order[n];
      const e = document.createElement("div");
      e.className = "thumb";
      e.id = `tile-option-${i}`;
      e.setAttribute("role", "option");
      e.setAttribute("aria-label", L4S.spoken(i));
      e.dataset.i = i;
      const picture = document.createElement("i");
      picture.style.height = `${grid.width}px`;
      L4S.thumbnail(picture, i, kind);
      const text = document.createElement("span");
      const id = document.createElement("b");
      id.textContent = L4S.told.tiles.patch[i];
      text.append(id, ` ${L4S.caption(i)}`);
      e.append(picture, text);
      return e;
    }

    function render() {
      const step = grid.strip ? grid.width + GAP : grid.height + GAP;
      const seen = grid.strip ? box.clientWidth : box.clientHeight;
      const from = grid.strip ? box.scrollLeft : box.scrollTop;
      const line = grid.strip ? 1 : grid.columns;
      const first = Math.max(0, Math.floor(from / step) - BEYOND) * line;
      const last = Math.min(order.length, (Math.ceil((from + seen) / step) + BEYOND) * line);
      for (const [n, e] of made) {
        if (n < first || n >= last) {
          e.remove();
          made.delete(n);
        }
      }
      for (let n = first; n < last; n++) {
        if (made.has(n)) continue;
        const e = cell(n);
        const [left, top] = spot(n);
        e.style.cssText = `left:${left}px;top:${top}px;width:${grid.width}px`;
        e.setAttribute("aria-posinset", n + 1);
        e.setAttribute("aria-setsize", order.length);
        made.set(n, e);
        room.append(e);
      }
      mark();
    }

    function mark() {
      const n = at.get(current);
      for (const [k, e] of made) e.setAttribute("aria-selected", String(k === n));
      if (made.has(n)) box.setAttribute("aria-activedescendant", made.get(n).id);
      else box.removeAttribute("aria-activedescendant");
    }

    function redraw() {
      made.forEach((e) => e.remove());
      made.clear();
      measure();
      render();
    }

    // Scroll as little as shows the current tile.
    function reveal() {
      const n = at.get(current);
      if (n === undefined) return;
      const [left, top] = spot(n);
      if (grid.strip) {
        if (left < box.scrollLeft + GAP || left + grid.width > box.scrollLeft + box.clientWidth) {
          box.scrollLeft = left - (box.clientWidth - grid.width) / 2;
        }
        render();
        return;
      }
      const above = box.scrollTop - top;
      const below = top + grid.height - box.scrollTop - box.clientHeight;
      if (Math.max(above, below) > 2 * grid.height) box.scrollTop = top - box.clientHeight / 3;
      else if (above > 0) box.scrollTop = top - GAP;
      else if (below > 0) box.scrollTop += below + GAP;
      render();
    }

    function step(by) {
      if (!order.length) return;
      const n = at.has(current) ? at.get(current) + by : 0;
      chosen(order[Math.min(order.length - 1, Math.max(0, n))]);
    }

    box.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
    box.addEventListener("click", (e) => {
      const own = e.target.closest(".thumb");
      if (own) chosen(Number(own.dataset.i));
    });
    box.addEventListener("keydown", (e) => {
      const line = grid.strip ? 1 : grid.columns;
      const page = grid.strip
        ? Math.max(1, Math.floor(box.clientWidth / (grid.width + GAP)) - 1)
        : Math.max(1, Math.floor(box.clientHeight / (grid.height + GAP)) - 1) * line;
      const by = {
        ArrowRight: 1, ArrowLeft: -1, ArrowDown: line, ArrowUp: -line, PageDown: page,
        PageUp: -page, Home: -order.length, End: order.length,
      }[e.key];
      if (by === undefined || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      step(by);
    });
    new ResizeObserver(() => { redraw(); reveal(); }).observe(box);

    return {
      step,
      place: () => at.get(current),
      arrange: (wanted) => {
        order = wanted;
        at = new Map(order.map((i, n) => [i, n]));
        redraw();
        box.scrollTop = box.scrollLeft = 0;
        reveal();
      },
      select: (i) => { current = i; mark(); reveal(); },
      pictures: (wanted) => { kind = wanted; redraw(); },
    };
  };
})();
