/* Reads the tiles' data: a script element for each tile asked for, bytes deflated in base64. */
"use strict";
(function () {
  const L4S = (window.L4S = window.L4S || {});
  const KEPT = 40; // tiles held in memory
  const waiting = new Map();
  const held = new Map();

  // What the scripts call: the index of the page, a tile's maps, a tile's values.
  L4S.index = (told) => { L4S.told = told; };
  L4S.tile = (patch, text) => arrive(`t${patch}`, { text });
  L4S.values = (patch, head, text) => arrive(`v${patch}`, { head, text });

  function arrive(key, value) {
    const known = waiting.get(key);
    waiting.delete(key);
    if (known) known(value);
  }

  function load(key) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(key, resolve);
      script.src = `${L4S.told.folder}/${key}.js`;
      script.onload = () => {
        script.remove();
        if (waiting.delete(key)) reject(new Error(`${key}.js does not hold it`));
      };
      script.onerror = () => {
        waiting.delete(key);
        script.remove();
        reject(new Error(`${key}.js is not beside the page`));
      };
      document.head.append(script);
    });
  }

  async function inflate(text) {
    if (!window.DecompressionStream) {
      throw new Error("this browser is too old to unpack the maps (it has no DecompressionStream)");
    }
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // The latest answers are kept; one that failed is asked for again.
  function once(key, make) {
    let found = held.get(key);
    if (found) held.delete(key);
    else {
      found = make();
      found.catch(() => held.delete(key));
    }
    held.set(key, found);
    if (held.size > 3 * KEPT) held.delete(held.keys().next().value);
    return found;
  }

  L4S.readTile = (patch) => once(`t${patch}`, async () => {
    const { text } = await load(`t${patch}`);
    const bytes = await inflate(text);
    const [height, width] = L4S.told.size;
    const n = height * width;
    const planes = {};
    const names = L4S.told.models.map((m) => m.key).concat(L4S.told.doubt ? ["doubt"] : []);
    names.forEach((name, i) => { planes[name] = bytes.subarray(i * n, (i + 1) * n); });
    const bits = bytes.subarray(names.length * n, (names.length + 1) * n);
    return { patch, planes, truth: bits.map((b) => b & 1), called: bits.map((b) => (b >> 1) & 1) };
  });

  L4S.readPhotos = (patch) => once(`p${patch}`, async () => {
    const image = new Image();
    image.src = `${L4S.told.folder}/p${patch}.webp`;
    await image.decode();
    return image;
  });

  // Whole numbers told as the distance to a plane through three neighbours.
  function unpredict(bytes, start, height, width) {
    const n = height * width;
    const out = new Uint16Array(n);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const z = bytes[start + i] | (bytes[start + n + i] << 8);
        const d = z & 1 ? -(z + 1) / 2 : z / 2;
        const left = x ? out[i - 1] : 0;
        const up = y ? out[i - width] : 0;
        out[i] = left + up - (x && y ? out[i - width - 1] : 0) + d;
      }
    }
    return out;
  }

  L4S.readValues = (patch) => once(`v${patch}`, async () => {
    const { head, text } = await load(`v${patch}`);
    const bytes = await inflate(text);
    const [height, width] = L4S.told.size;
    let at = 0;
    const whole = ([name, unit, offset, scale]) => {
      const values = unpredict(bytes, at, height, width);
      at += 2 * height * width;
      return { name, unit, of: (i) => offset + scale * values[i] };
    };
    const told = { ...head, bands: head.bands.map(whole), logits: head.logits.map(whole) };
    if (!head.features) return told;
    const h = Math.ceil(height / head.stride);
    const w = Math.ceil(width / head.stride);
    const part = (kind) => {
      const found = new kind(bytes.buffer, at, h * w);
      at += h * w;
      return found;
    };
    const features = head.features.map(([name, group, unit, low, high, size]) => ({
      name, group, unit, low, high, size, steps: part(Uint8Array),
    }));
    features.forEach((f) => { f.added = part(Int8Array); });
    const rest = part(Int8Array);
    told.stridedWidth = w;
    told.features = features.map((f) => ({
      name: f.name, group: f.group, unit: f.unit,
      of: (i) => f.low + ((f.high - f.low) * f.steps[i]) / 255,
      adds: (i) => (f.size * f.added[i]) / 127,
    }));
    told.restAdds = (i) => (head.rest[1] * rest[i]) / 127;
    return told;
  });
})();
