/* Draws the figures in the colours of the page, and sorts tables. No network, no storage. */
"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function themed(value, style) {
    if (typeof value === "string" && value.startsWith("@")) {
      return style.getPropertyValue("--" + value.slice(1)).trim() || "#888";
    }
    if (Array.isArray(value)) return value.map((v) => themed(v, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, style)]));
    }
    return value;
  }

  function draw(div, width) {
    const source = document.getElementById(div.dataset.plot);
    if (!source || !window.Plotly) return null;
    const figure = JSON.parse(source.textContent);
    const style = getComputedStyle(document.documentElement);
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: !width,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "@muted" },
      hoverlabel: { bgcolor: "@card", bordercolor: "@axis", font: { color: "@ink" } },
    };
    // A map keeps its squares square: it is as high as its width asks, at most as high as it says.
    const meta = figure.layout.meta;
    if (meta && meta.aspect) {
      const wanted = ((width || div.clientWidth) - meta.beside) * meta.aspect + meta.below;
      figure.layout.height = Math.round(Math.min(figure.layout.height, Math.max(wanted, 160)));
      div.style.minHeight = "0";
      if (meta.labels_from && div.clientWidth < meta.labels_from) {
        // Too narrow to write every name: the values under the pointer say them.
        for (const axis of ["xaxis", "yaxis"]) figure.layout[axis].showticklabels = false;
      }
    }
    const layout = themed({ ...base, ...figure.layout, ...(width ? { width } : {}) }, style);
    const options = { responsive: !width, displaylogo: false, displayModeBar: false };
    return window.Plotly.react(div, themed(figure.data, style), layout, options);
  }

  const plots = Array.from(document.querySelectorAll("[data-plot]"));
  function drawAll() { plots.forEach((div) => draw(div)); }

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = Array.from(table.querySelectorAll("thead th"));
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => {
          const raw = row.cells[column].dataset.raw;
          return raw === "" ? null : isNaN(raw) ? raw : Number(raw);
        };
        const rows = Array.from(body.rows).sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x === null || y === null) return (x === null) - (y === null);
          const order = typeof x === "string" || typeof y === "string"
            ? String(x).localeCompare(String(y)) : x - y;
          return up ? order : -order;
        });
        body.append(...rows);
      });
    });
  }

  // On a phone the row of pages is wider than the screen: show where we are.
  const nav = document.querySelector(".top nav");
  const here = nav && nav.querySelector("[aria-current]");
  if (here) nav.scrollLeft = here.offsetLeft - nav.offsetLeft - 12;

  document.querySelectorAll("button.larger").forEach((button) => {
    button.addEventListener("click", () => {
      const large = button.closest(".tile").classList.toggle("large");
      button.setAttribute("aria-expanded", String(large));
      button.textContent = large ? "smaller" : "larger";
    });
  });

  // Chips show the rows of one group.
  document.querySelectorAll(".chips").forEach((chips) => {
    const buttons = Array.from(chips.querySelectorAll("button"));
    const body = chips.parentElement.querySelector("table").tBodies[0];
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      for (const row of body.rows) {
        const own = row.querySelector(".t-group").dataset.raw;
        row.hidden = button.dataset.group !== "" && button.dataset.group !== own;
      }
    }));
  });

  document.querySelectorAll("table.sortable").forEach(sortable);
  drawAll();
  dark.addEventListener("change", drawAll);
  // Paper is narrower than most screens: draw again at the width of the column on paper.
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("paper");
    document.querySelectorAll("details").forEach((d) => { d.open = true; });
    plots.forEach((div) => draw(div, div.closest(".of2, .of3") ? 330 : 660));
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("paper");
    drawAll();
  });
})();
