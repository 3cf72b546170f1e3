"use strict";
(() => {
  const figures = [...document.querySelectorAll("[data-figure]")];
  const paper = 680;
  const style = () => getComputedStyle(document.documentElement);
  const color = (name) => style().getPropertyValue(name).trim();

  const colors = (layout) => {
    const change = { "font.color": color("--ink") };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*/.test(key))) {
      change[axis + ".gridcolor"] = color("--grid");
      change[axis + ".zerolinecolor"] = color("--soft");
      change[axis + ".linecolor"] = color("--line");
    }
    (layout.annotations || []).forEach((_, index) => {
      change["annotations[" + index + "].arrowcolor"] = color("--soft");
    });
    return change;
  };
  const paint = () =>
    figures.forEach((plot) => Plotly.relayout(plot, colors(plot.layout)));
  const resize = (width) =>
    figures.forEach((plot) =>
      Plotly.relayout(plot, width ? { width, autosize: false } : { width: null, autosize: true }));

  for (const plot of figures) {
    const source = document.getElementById(plot.dataset.figure);
    const { data, layout } = JSON.parse(source.textContent);
    const name = plot.dataset.figure;
    Plotly.newPlot(plot, data, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: name },
    });
    plot.closest("figure").querySelectorAll("details").forEach((d) => (d.open = false));
  }
  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("beforeprint", () => { resize(paper); paint(); });
  addEventListener("afterprint", () => { resize(null); paint(); });
})();
