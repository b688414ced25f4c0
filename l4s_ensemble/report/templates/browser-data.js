/* Reads the tiles' data: a script element for each tile asked for, bytes deflated in base64. */
"use strict";
(function () {
  const L4S = (window.L4S = window.L4S || {});
  const KEPT = 40; // tiles held in memory
  const waiting = new Map();
  const cache = new Map();

  // What the scripts call: the index of the page, a tile's maps.
  L4S.index = (info) => { L4S.info = info; };
  L4S.tile = (patch, text) => arrive(`t${patch}`, text);

  function arrive(key, value) {
    const known = waiting.get(key);
    waiting.delete(key);
    if (known) known(value);
  }

  function load(key) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(key, resolve);
      script.src = `${L4S.info.folder}/${key}.js`;
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
    let found = cache.get(key);
    if (found) cache.delete(key);
    else {
      found = make();
      found.catch(() => cache.delete(key));
    }
    cache.set(key, found);
    if (cache.size > 2 * KEPT) cache.delete(cache.keys().next().value);
    return found;
  }

  L4S.readTile = (patch) => once(`t${patch}`, async () => {
    const bytes = await inflate(await load(`t${patch}`));
    const [height, width] = L4S.info.size;
    const n = height * width;
    const planes = {};
    const names = L4S.info.models.map((m) => m.key).concat(L4S.info.uncertainty ? ["uncertainty"] : []);
    names.forEach((name, i) => { planes[name] = bytes.subarray(i * n, (i + 1) * n); });
    const bits = bytes.subarray(names.length * n, (names.length + 1) * n);
    return { patch, planes, reference: bits.map((b) => b & 1), predicted: bits.map((b) => (b >> 1) & 1) };
  });

  L4S.readPhotos = (patch) => once(`p${patch}`, async () => {
    const image = new Image();
    image.src = `${L4S.info.folder}/p${patch}.webp`;
    await image.decode();
    return image;
  });

})();
