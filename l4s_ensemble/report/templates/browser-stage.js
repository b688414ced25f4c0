/* The large tile: two layers, blended or with a divider between them, zoom, and the crosshair. */
"use strict";
(function () {
  const L4S = window.L4S;
  const MOST_ZOOM = 24;

  /* root: the element that holds the stage. state: what is shown, shared with the page.
     changed(): the state was changed here. looked(pixel, why): a pixel is looked at, by 'pointer',
     'keys' or 'back' (the pointer has left). */
  L4S.stage = (root, state, { changed, looked }) => {
    const $ = (name) => root.querySelector(`[data-part="${name}"]`);
    const all = (name) => [...root.querySelectorAll(`[name="${name}"]`)];
    const [frame, sheet, under, over, lines] = ["frame", "sheet", "under", "over", "lines"].map($);
    const layers = L4S.layers();
    const [height, width] = L4S.info.size;
    let shown = null; // {tile, photos}
    let hover = null;
    sheet.style.setProperty("--aspect", width / height);

    const zoomer = L4S.zoomable(root, MOST_ZOOM, () => {
      const scale = zoomer.scale();
      state.zoom = scale > 1 ? [scale, ...zoomer.centre()].map((v) => Math.round(1000 * v) / 1000) : null;
      changed();
    });

    function underPointer(e) {
      const [u, v] = zoomer.place(e);
      const [y, x] = [Math.floor(v * height), Math.floor(u * width)];
      return y >= 0 && x >= 0 && y < height && x < width ? [y, x] : null;
    }

    function pin(pixel, why) {
      state.at = pixel;
      placeCross();
      looked(pixel, why);
      changed();
    }

    function placeCross() {
      const [y, x] = hover || state.at;
      $("cross").style.cssText = `left:${(100 * (x + 0.5)) / width}%;top:${(100 * (y + 0.5)) / height}%;`
        + `--one:${100 / width}%`;
    }

    function placeDivider() {
      const swipe = state.mode === "swipe";
      $("divider").hidden = !swipe;
      $("divider").style.left = `${state.mix}%`;
      over.style.clipPath = swipe ? `inset(0 0 0 ${state.mix}%)` : "none";
      over.style.opacity = swipe ? 1 : state.mix / 100;
      $("mix").value = state.mix;
      $("mix-name").textContent = swipe ? "Divider" : "Share of the second layer";
      $("mix-value").textContent = `${Math.round(state.mix)}\u202f%`;
    }

    function legend(box, layer) {
      const marks = {
        reference: [["landslide in the reference", "found"]],
        predicted: [["predicted landslide", "false"]],
        errors: [["found", "found"], ["missed", "missed"], ["false alarm", "false"]],
      }[layer.marks] || [];
      const entries = marks.map(([text, name]) => ["", text, L4S.css.colour(name), ""]);
      if (layer.palette) entries.push(["0 ", " 1", L4S.css.ramp(layer.palette), "ramp"]);
      if (layer.note) entries.push(["", layer.note, null, ""]);
      box.replaceChildren(...entries.map(([before, after, css, kind]) => {
        const item = document.createElement("li");
        const mark = Object.assign(document.createElement("i"), { className: kind });
        mark.style.background = css;
        item.append(before, ...(css ? [mark] : []), after);
        return item;
      }));
    }

    const predicted = () => L4S.predictedAt(shown.tile, state.threshold);

    function draw() {
      if (!shown) return;
      const on = predicted();
      for (const [side, canvas] of [["left", under], ["right", over]]) {
        const layer = layers.find((l) => l.key === state[side]);
        L4S.draw(canvas, layer, shown.photos, shown.tile, on);
        legend($(`legend-${side}`), layer);
      }
      const outlines = {
        reference: { mask: shown.tile.reference, colour: L4S.css.colour("found") },
        predicted: { mask: on, colour: L4S.css.colour("false") },
      };
      lines.hidden = !state.lines.length;
      if (state.lines.length) L4S.drawLines(lines, state.lines.map((name) => outlines[name]));
    }

    function sync() {
      for (const side of ["left", "right"]) $(side).value = state[side];
      for (const radio of all("mode")) radio.checked = radio.value === state.mode;
      for (const box of all("lines")) box.checked = state.lines.includes(box.value);
      placeDivider();
      placeCross();
      draw();
    }

    for (const side of ["left", "right"]) {
      $(side).replaceChildren(...layers.map((l) => new Option(l.label, l.key)));
    }
    // Whatever is chosen below the picture goes into the state.
    root.addEventListener("input", (e) => {
      const { name, value } = e.target;
      const part = e.target.dataset.part;
      if (part === "left" || part === "right") state[part] = value;
      else if (part === "mix") state.mix = Number(value);
      else if (name === "mode") state.mode = value;
      else if (name === "lines") state.lines = all("lines").filter((b) => b.checked).map((b) => b.value);
      else return;
      sync();
      changed();
    });
    $("swap").addEventListener("click", () => {
      [state.left, state.right] = [state.right, state.left];
      sync();
      changed();
    });

    sheet.addEventListener("click", (e) => {
      const pixel = underPointer(e);
      if (pixel) pin(pixel, "pointer");
    });
    sheet.addEventListener("pointermove", (e) => {
      const pixel = e.pointerType === "touch" ? null : underPointer(e);
      if (!pixel || String(pixel) === String(hover)) return;
      hover = pixel;
      placeCross();
      looked(pixel, "pointer");
    });
    sheet.addEventListener("pointerleave", () => {
      hover = null;
      placeCross();
      looked(state.at, "back");
    });
    frame.addEventListener("keydown", (e) => {
      if (e.altKey || e.ctrlKey || e.metaKey) return;
      const by = e.shiftKey ? 8 : 1;
      const move = {
        ArrowUp: [-by, 0], ArrowDown: [by, 0], ArrowLeft: [0, -by], ArrowRight: [0, by],
      }[e.key];
      const scale = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[e.key];
      if (!move && scale === undefined) return;
      e.preventDefault();
      hover = null;
      if (move) {
        const within = (v, n) => Math.min(n - 1, Math.max(0, v));
        pin([within(state.at[0] + move[0], height), within(state.at[1] + move[1], width)], "keys");
        $("cross").scrollIntoView({ block: "nearest", inline: "nearest" });
      } else zoomer.to(zoomer.scale() * scale, [(state.at[1] + 0.5) / width, (state.at[0] + 0.5) / height]);
    });

    return {
      draw,
      sync,
      predicted,
      show: (tile, photos) => { shown = { tile, photos }; hover = null; sync(); },
      restore: () => { const [scale, ...centre] = state.zoom || [1, 0.5, 0.5]; zoomer.to(scale, centre); },
    };
  };
})();
