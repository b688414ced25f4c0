/* Draws the layers of a tile on canvases. Nothing is read back from a canvas: a picture beside a
   page that was opened as a file may be drawn, but not read. */
"use strict";
(function () {
  const L4S = window.L4S;
  const LINE_STEPS = 8; // canvas pixels of an outline's canvas along a pixel of the tile
  const scratch = document.createElement("canvas");

  // Layers of this page: key, label, what it shows, how it is drawn.
  L4S.layers = () => {
    const told = L4S.told;
    const out = told.photos.map((p, at) => ({ key: p.key, label: p.name, note: p.note, photo: at }));
    for (const m of told.models) {
      out.push({ key: m.key, label: `${m.name}, probability`, palette: "probability", plane: m.key });
    }
    if (told.doubt) out.push({ key: "doubt", label: "uncertainty", note: told.doubt, palette: "doubt", plane: "doubt" });
    if (told.has_truth) {
      out.push({ key: "truth", label: "reference", marks: "truth" });
      out.push({ key: "errors", label: "errors", marks: "errors" });
    }
    out.push({ key: "called", label: "predicted landslide", marks: "called" });
    return out;
  };

  const tables = {};
  function table(name) {
    if (!tables[name]) {
      const anchors = L4S.told.palettes[name];
      tables[name] = Uint8Array.from({ length: 256 * 3 }, (_, i) => {
        const place = (Math.floor(i / 3) / 255) * (anchors.length - 1);
        const low = Math.min(Math.floor(place), anchors.length - 2);
        const c = i % 3;
        return Math.round(anchors[low][c] * (low + 1 - place) + anchors[low + 1][c] * (place - low));
      });
    }
    return tables[name];
  }

  const rgb = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
  L4S.css = {
    colour: (name) => rgb(L4S.told.colours[name]),
    ramp: (name) => `linear-gradient(to right, ${L4S.told.palettes[name].map(rgb).join(", ")})`,
  };

  // What is predicted at a threshold; without one, what the run itself predicted.
  L4S.calledAt = (tile, threshold) => {
    if (threshold === null) return tile.called;
    const plane = tile.planes[L4S.told.models.at(-1).key];
    const cut = 255 * threshold;
    return plane.map((p) => (p >= cut ? 1 : 0));
  };

  L4S.verdict = (truth, called) => (truth ? (called ? "found" : "missed") : called ? "false" : "");

  L4S.draw = (canvas, layer, photos, tile, called) => {
    const [height, width] = L4S.told.size;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const pen = canvas.getContext("2d");
    const photo = (at) => pen.drawImage(photos, at * width, 0, width, height, 0, 0, width, height);
    if (layer.photo !== undefined) {
      photo(layer.photo);
      return;
    }
    const pixels = new ImageData(width, height);
    const out = pixels.data;
    if (layer.plane) {
      const colours = table(layer.palette);
      const plane = tile.planes[layer.plane];
      for (let i = 0; i < plane.length; i++) {
        out.set(colours.subarray(3 * plane[i], 3 * plane[i] + 3), 4 * i);
        out[4 * i + 3] = 255;
      }
      pen.putImageData(pixels, 0, 0);
      return;
    }
    const colours = L4S.told.colours;
    for (let i = 0; i < tile.truth.length; i++) {
      let name = "";
      if (layer.marks === "truth") name = tile.truth[i] ? "found" : "";
      else if (layer.marks === "called") name = called[i] ? "false" : "";
      else name = L4S.verdict(tile.truth[i], called[i]);
      if (name) {
        out.set(colours[name], 4 * i);
        out[4 * i + 3] = 255;
      }
    }
    // The photograph, grey and dark, so that what lies on it stands out.
    photo(0);
    pen.save();
    pen.globalCompositeOperation = "saturation";
    pen.fillStyle = "#777";
    pen.fillRect(0, 0, width, height);
    pen.restore();
    pen.fillStyle = "rgba(12, 12, 12, 0.5)";
    pen.fillRect(0, 0, width, height);
    scratch.width = width;
    scratch.height = height;
    scratch.getContext("2d").putImageData(pixels, 0, 0);
    pen.drawImage(scratch, 0, 0);
  };

  // Outlines between pixels: a dark line below, a coloured one on it.
  L4S.drawLines = (canvas, lines) => {
    const [height, width] = L4S.told.size;
    canvas.width = width * LINE_STEPS;
    canvas.height = height * LINE_STEPS;
    const pen = canvas.getContext("2d");
    for (const { mask, colour } of lines) {
      const path = new Path2D();
      for (let y = 0, i = 0; y < height; y++) {
        for (let x = 0; x < width; x++, i++) {
          const [left, top] = [x * LINE_STEPS, y * LINE_STEPS];
          if (x && mask[i] !== mask[i - 1]) {
            path.moveTo(left, top);
            path.lineTo(left, top + LINE_STEPS);
          }
          if (y && mask[i] !== mask[i - width]) {
            path.moveTo(left, top);
            path.lineTo(left + LINE_STEPS, top);
          }
        }
      }
      pen.lineCap = "round";
      pen.strokeStyle = "rgba(0, 0, 0, 0.65)";
      pen.lineWidth = 4.5;
      pen.stroke(path);
      pen.strokeStyle = colour;
      pen.lineWidth = 2.2;
      pen.stroke(path);
    }
  };

  // A thumbnail as a background; percentages, so that any size will do.
  L4S.thumbnail = (element, i, kind) => {
    const { edge_tiles: edge, files } = L4S.told.sheets;
    const cell = L4S.told.tiles.cell[i];
    const within = cell % (edge * edge);
    const part = (n) => `${(100 * n) / (edge - 1)}%`;
    const file = files[kind][Math.floor(cell / (edge * edge))];
    element.style.backgroundImage = `url("${L4S.told.folder}/${file}")`;
    element.style.backgroundSize = `${100 * edge}%`;
    element.style.backgroundPosition = `${part(within % edge)} ${part(Math.floor(within / edge))}`;
  };
})();
