/* The thumbnails: sorted, filtered, and walked through by keys. Style lets the browser skip those
   out of sight. */
"use strict";
(function () {
  const L4S = window.L4S;
  const { words } = L4S;
  const ROWS_A_PAGE = 5;

  // Columns that tiles are sorted by: name, value of tile i, whether the largest come first.
  L4S.sorts = (t) => ({
    ...(t.tp && {
      wrong: { name: "wrong pixels", of: (i) => t.fp[i] + t.fn[i], down: true },
      f1: {
        name: "F1", down: false,
        of: (i) => (t.tp[i] + t.fn[i] ? (2 * t.tp[i]) / (2 * t.tp[i] + t.fp[i] + t.fn[i]) : null),
      },
      real: { name: "landslide pixels", of: (i) => t.tp[i] + t.fn[i], down: true },
    }),
    predicted: { name: "predicted pixels", of: (i) => t.predicted[i], down: true },
    ...(t.uncertainty && { uncertainty: { name: "mean uncertainty", of: (i) => t.uncertainty[i], down: true } }),
    ...(t.scene && {
      place: {
        name: "place in the scene", down: false,
        of: (i) => (t.scene[i] * 4096 + t.row[i]) * 4096 + t.col[i],
      },
    }),
    id: { name: "id", of: (i) => t.patch[i], down: false },
  });

  // Kinds of tiles to show.
  L4S.kinds = (t) => ({
    all: { name: "all tiles", of: () => true },
    ...(t.tp && {
      real: { name: "with a landslide", of: (i) => t.tp[i] + t.fn[i] > 0 },
      none: { name: "without a landslide", of: (i) => t.tp[i] + t.fn[i] === 0 },
      missed: { name: "with missed pixels", of: (i) => t.fn[i] > 0 },
      false: { name: "with false alarms", of: (i) => t.fp[i] > 0 },
    }),
    predicted: { name: "with something predicted", of: (i) => t.predicted[i] > 0 },
  });

  // Positions of the tiles that a state asks for, in its order; those without a value come last.
  L4S.arranged = (state) => {
    const t = L4S.info.tiles;
    const sort = L4S.sorts(t)[state.sort];
    const sign = sort.down !== (state.turned === "yes") ? -1 : 1;
    return t.patch.map((_, i) => i)
      .filter((i) => L4S.kinds(t)[state.show].of(i)
        && ["scene", "fold"].every((k) => state[k] === "" || t[k][i] === Number(state[k])))
      .sort((a, b) => {
        const [x, y] = [sort.of(a), sort.of(b)];
        if (x === null || y === null) return (x === null) - (y === null) || a - b;
        return sign * (x - y) || a - b;
      });
  };

  // What is said of a tile below its thumbnail and to a screen reader.
  function caption(i) {
    const t = L4S.info.tiles;
    if (!t.tp) return `${words.count(t.predicted[i])} px`;
    const f1 = L4S.sorts(t).f1.of(i);
    return f1 === null ? (t.fp[i] ? `${words.count(t.fp[i])} false` : "none") : `F1 ${words.score(f1)}`;
  }
  L4S.spoken = (i) => {
    const t = L4S.info.tiles;
    const parts = [`Tile ${t.patch[i]}`];
    if (t.scene && t.scene[i] >= 0) parts.push(L4S.spot(i));
    if (t.tp) parts.push(`${t.tp[i]} pixels found, ${t.fn[i]} missed, ${t.fp[i]} false`);
    else parts.push(`${t.predicted[i]} pixels predicted landslide`);
    return parts.join(", ");
  };
  L4S.spot = (i) => {
    const t = L4S.info.tiles;
    return `scene ${t.scene[i]}, row ${t.row[i]}, column ${t.col[i]}`;
  };

  /* box: the scrolling listbox. chosen(i): a tile was chosen. */
  L4S.list = (box, chosen) => {
    const make = (tag, name, ...parts) => {
      const e = Object.assign(document.createElement(tag), { className: name });
      e.append(...parts);
      return e;
    };
    const cells = L4S.info.tiles.patch.map((patch, i) => {
      const e = make("div", "thumb", make("i", ""), make("span", "", make("b", "", patch), ` ${caption(i)}`));
      e.id = `tile-option-${i}`;
      e.dataset.i = i;
      e.setAttribute("role", "option");
      e.setAttribute("aria-label", L4S.spoken(i));
      return e;
    });
    let order = [];
    let current = -1;

    function mark() {
      for (const e of box.querySelectorAll('[aria-selected="true"]')) e.removeAttribute("aria-selected");
      box.removeAttribute("aria-activedescendant");
      if (!order.includes(current)) return;
      cells[current].setAttribute("aria-selected", "true");
      box.setAttribute("aria-activedescendant", cells[current].id);
      const [own, room] = [cells[current].getBoundingClientRect(), box.getBoundingClientRect()];
      if (own.bottom > room.bottom || own.top < room.top) box.scrollTop += own.top - room.top - 40;
      if (own.right > room.right || own.left < room.left) box.scrollLeft += own.left - room.left - 40;
    }
    function step(by) {
      const n = order.indexOf(current);
      if (order.length) chosen(order[n < 0 ? 0 : Math.min(order.length - 1, Math.max(0, n + by))]);
    }

    box.addEventListener("click", (e) => {
      const own = e.target.closest(".thumb");
      if (own) chosen(Number(own.dataset.i));
    });
    box.addEventListener("keydown", (e) => {
      const strip = getComputedStyle(box).gridAutoFlow === "column";
      const line = strip ? 1 : getComputedStyle(box).gridTemplateColumns.split(" ").length;
      const by = {
        ArrowRight: 1, ArrowLeft: -1, ArrowDown: line, ArrowUp: -line, Home: -order.length,
        PageDown: ROWS_A_PAGE * line, PageUp: -ROWS_A_PAGE * line, End: order.length,
      }[e.key];
      if (by === undefined || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      step(by);
    });

    return {
      step,
      place: () => order.indexOf(current),
      arrange: (wanted) => {
        order = wanted;
        box.replaceChildren(...order.map((i) => cells[i]));
        mark();
      },
      select: (i) => { current = i; mark(); },
      pictures: (kind) => cells.forEach((e, i) => L4S.thumbnail(e.firstChild, i, kind)),
    };
  };
})();
