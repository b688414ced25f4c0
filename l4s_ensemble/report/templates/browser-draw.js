/* Draws the layers of a tile on canvases. Nothing is read back from a canvas: a picture beside a
   page that was opened as a file may be drawn, but not read. */
"use strict";
(function () {
  const L4S = window.L4S;
  const LINE_STEPS = 8; // canvas pixels of an outline's canvas along a pixel of the tile
  const scratch = document.createElement("canvas");

  // Layers of this page: key, label, what it shows, how it is drawn.
  L4S.layers = () => {
    const info = L4S.info;
    const out = info.photos.map((p, at) => ({ key: p.key, label: p.name, note: p.note, photo: at }));
    for (const m of info.models) {
      out.push({ key: m.key, label: `${m.name}, probability`, palette: "probability", plane: m.key });
    }
    if (info.uncertainty) out.push({ key: "uncertainty", label: "uncertainty", note: info.uncertainty, palette: "uncertainty", plane: "uncertainty" });
    if (info.has_reference) {
      out.push({ key: "reference", label: "reference", marks: "reference" });
      out.push({ key: "errors", label: "errors", marks: "errors" });
    }
    out.push({ key: "predicted", label: "predicted landslide", marks: "predicted" });
    return out;
  };

  const tables = {};
  function table(name) {
    if (!tables[name]) {
      const anchors = L4S.info.palettes[name];
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
    colour: (name) => rgb(L4S.info.colours[name]),
    ramp: (name) => `linear-gradient(to right, ${L4S.info.palettes[name].map(rgb).join(", ")})`,
  };

  // What is predicted at a threshold; without one, what the run itself predicted.
  L4S.predictedAt = (tile, threshold) => {
    if (threshold === null) return tile.predicted;
    const plane = tile.planes[L4S.info.models.at(-1).key];
    const limit = 255 * threshold;
    return plane.map((p) => (p >= limit ? 1 : 0));
  };

  L4S.verdict = (reference, predicted) => (reference ? (predicted ? "found" : "missed") : predicted ? "false" : "");

  L4S.draw = (canvas, layer, photos, tile, predicted) => {
    const [height, width] = L4S.info.size;
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
    const colours = L4S.info.colours;
    for (let i = 0; i < tile.reference.length; i++) {
      let name = "";
      if (layer.marks === "reference") name = tile.reference[i] ? "found" : "";
      else if (layer.marks === "predicted") name = predicted[i] ? "false" : "";
      else name = L4S.verdict(tile.reference[i], predicted[i]);
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
    const [height, width] = L4S.info.size;
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
    const { edge_tiles: edge, files } = L4S.info.sheets;
    const cell = L4S.info.tiles.cell[i];
    const within = cell % (edge * edge);
    const part = (n) => `${(100 * n) / (edge - 1)}%`;
    const file = files[kind][Math.floor(cell / (edge * edge))];
    element.style.backgroundImage = `url("${L4S.info.folder}/${file}")`;
    element.style.backgroundSize = `${100 * edge}%`;
    element.style.backgroundPosition = `${part(within % edge)} ${part(Math.floor(within / edge))}`;
  };
})();
