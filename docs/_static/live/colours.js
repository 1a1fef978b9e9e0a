// Colours of numbers. The maps can be read without seeing red and green.
"use strict";
window.dcgmm ??= {};
{
  // Matplotlib's cividis, whose steps look equally large, and its red and blue for differences.
  const CIVIDIS =
    "#00224e #002e6a #1a386f #32436d #434e6c #535a6d #61656f #6f7073 #7d7c78 #8c8878 #9b9476 #aba072 " +
    "#bcae6c #cdbb63 #dec958 #f0d846 #fee838";
  const BLUE_TO_RED = "#053061 #2065ab #4393c3 #90c4dd #d1e5f0 #f7f6f6 #fddbc7 #f3a481 #d6604d #b1182b #67001f";

  const parsed = (text) => text.split(" ").map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const clipped = (value) => Math.min(Math.max(value, 0), 1);

  /** Return a function from a number to [red, green, blue], from a list of colours for `low` to `high`. */
  function scale(text, low, high) {
    const colours = parsed(text);
    const colour = (value) => {
      const place = clipped((value - low) / (high - low)) * (colours.length - 1);
      const below = Math.min(Math.floor(place), colours.length - 2);
      return colours[below].map((part, i) => part + (place - below) * (colours[below + 1][i] - part));
    };
    return Object.assign(colour, { low, high });
  }

  /** Grey values from 0, black, to 1, white, as in the notebooks. */
  const greys = scale("#000000 #ffffff", 0, 1);
  const cividis = (low, high) => scale(CIVIDIS, low, high);
  const blueToRed = (limit) => scale(BLUE_TO_RED, -limit, limit);

  Object.assign(dcgmm, { greys, cividis, blueToRed });
}
