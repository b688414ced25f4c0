/* Numbers as the rest of the report writes them. */
"use strict";
(function () {
  const L4S = (window.L4S = window.L4S || {});
  const NARROW = "\u202f";
  const minus = (text) => text.replace("-", "\u2212");

  L4S.words = {
    NARROW,
    count: (v) => minus(Math.round(v).toLocaleString("en-US")),
    // toFixed turns a tie up, the rest of the report to the even digit; ties are odd sixteenths.
    score: (v) => minus((v - ((16 * v) % 4 === 1 ? 1e-6 : 0)).toFixed(3)),
    chance: (v) => v.toFixed(2),
    number: (v) => {
      if (v === 0) return "0";
      const size = Math.abs(v);
      if (size >= 1000) return L4S.words.count(v);
      if (size < 1e-4) return minus(v.toExponential(1));
      return minus(String(Number(v.toPrecision(3))));
    },
    /** A share as so many of a hundred. */
    of100: (v) => {
      const n = 100 * v;
      if (n > 0 && n < 1) return "fewer than 1";
      if (n > 99 && n < 100) return "more than 99";
      return String(Math.floor(n + 0.5));
    },
  };
})();
