"use strict";
// Draws what a model says of one video. `data` is what `hicmae.web.record` makes; `source` is a video's address, or null.

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#777777", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#44AA99",
  "#999933", "#332288"];
const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const colour = index => COLOURS[index % COLOURS.length];
const format = (data, value) => data.said === "probabilities" ? (100 * value).toFixed(0) + " %" : value.toFixed(2);

function show(data, source, place) {
  place.replaceChildren();
  const add = (...children) => place.append(...children);
  if (data.reason) add(element("p", {class: "warning"}, data.reason));
  if (!data.whole.length) return;
  add(element("p", {class: "verdict"}, verdict(data)));
  if (data.said === "probabilities") add(element("p", {class: "note"}, data.calibrated
    ? "Probabilities are calibrated: scaled by a temperature that was fitted on speakers held out from training."
    : "Probabilities are the model's own, not calibrated."));

  const clock = makeClock(data, source);
  const bars = element("div", {class: "bars"});
  add(element("div", {class: "top"}, clock.screen, bars));
  add(legend(data));
  const timeline = makeTimeline(data, clock);
  add(timeline.element);
  const looked = element("div");
  add(looked);
  add(...modalities(data), ...layers(data));

  let shownWindow = -1;
  clock.onTick(seconds => {
    timeline.move(seconds);
    clock.box(seconds);
    const index = windowAt(data, seconds);
    if (index === shownWindow) return;
    shownWindow = index;
    bars.replaceChildren(valueTable(data, data.windows[index]));
    timeline.heat(data.windows[index]);
    looked.replaceChildren(...faces(data, data.windows[index]));
  });
}

function verdict(data) {
  return groups(data).map(({target, indices}) => {
    const prefix = target ? `${target}: ` : "";
    if (data.said !== "probabilities") return `${data.names[indices[0]]} ${format(data, data.whole[indices[0]])}`;
    const best = indices.reduce((a, b) => data.whole[b] > data.whole[a] ? b : a);
    return `${prefix}${data.classes[best % data.classes.length]}, ${format(data, data.whole[best])}`;
  }).join("; ");
}

// Outputs that belong together: the classes of one target, or one value alone.
function groups(data) {
  const size = data.classes.length || 1;
  const count = data.names.length / size;
  return [...Array(count).keys()].map(group => ({
    target: data.classes.length ? data.targets[group] || "" : "",
    indices: [...Array(size).keys()].map(index => group * size + index),
  }));
}

// The window whose middle is nearest.
function windowAt(data, seconds) {
  const far = w => Math.abs((w.start_seconds + w.end_seconds) / 2 - seconds);
  return data.windows.reduce((best, w, index) => far(w) < far(data.windows[best]) ? index : best, 0);
}

// The picture, and who says what time it is: the video, or a slider over key frames where the page holds no video.
function makeClock(data, source) {
  const screen = element("div", {class: "screen"});
  const listeners = [];
  const overlay = drawn("svg", {viewBox: data.picture ? `0 0 ${data.picture.width} ${data.picture.height}` : "0 0 1 1"});
  const frame = drawn("rect", {});
  overlay.append(frame);
  let now, seek;
  if (source) {
    const video = element("video", {src: source, controls: "", playsinline: "", preload: "auto"});
    screen.append(video);
    now = () => video.currentTime;
    seek = seconds => { video.currentTime = seconds; };
  } else {
    let seconds = 0;
    const picture = element("img", {alt: ""});
    const slider = element("input", {type: "range", min: 0, max: data.duration_seconds, step: 0.04, value: 0,
      style: "width: 100%", "aria-label": "time"});
    if (data.pictures.length) screen.append(picture);
    else screen.classList.add("sound");
    now = () => seconds;
    seek = to => {
      seconds = to;
      slider.value = to;
      const nearest = data.pictures.reduce((a, b) => Math.abs(b.seconds - to) < Math.abs(a.seconds - to) ? b : a,
        data.pictures[0]);
      if (nearest && picture.dataset.seconds !== String(nearest.seconds)) {
        picture.src = "data:image/jpeg;base64," + nearest.jpeg;
        picture.dataset.seconds = nearest.seconds;
      }
    };
    slider.addEventListener("input", () => seek(Number(slider.value)));
    screen.append(slider);
    seek(0);
  }
  if (data.face) screen.append(overlay);
  const tick = () => {
    if (!screen.isConnected && screen.dataset.seen) return;
    if (screen.isConnected) screen.dataset.seen = "yes";
    const seconds = now();
    for (const listener of listeners) listener(seconds);
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  return {
    screen, seek,
    onTick: listener => listeners.push(listener),
    box(seconds) {
      if (!data.face) return;
      const index = Math.round((seconds - data.face.start_seconds) * data.face.fps);
      const box = data.face.boxes[Math.max(0, Math.min(index, data.face.boxes.length - 1))];
      const [left, top, right, bottom] = box;
      for (const [name, value] of Object.entries({x: left, y: top, width: right - left, height: bottom - top}))
        frame.setAttribute(name, value);
    },
  };
}

function bar(share, fill) {
  return element("td", {class: "bar"},
    element("i", {style: `width: ${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%; background: ${fill}`}));
}

// A row per output: its value and a bar in each column.
function valueRows(data, columns) {
  return data.names.map((name, index) => element("tr", {}, element("td", {}, name), ...columns.flatMap(values =>
    [element("td", {class: "number"}, format(data, values[index])),
      bar(data.said === "probabilities" ? values[index] : 0, colour(index))])));
}

function valueTable(data, window) {
  const head = element("tr", {}, element("th"), element("th", {colspan: 2}, "whole clip"),
    element("th", {colspan: 2}, `${window.start_seconds.toFixed(1)} – ${window.end_seconds.toFixed(1)} s`));
  return element("table", {}, head, ...valueRows(data, [data.whole, window.values]));
}

function legend(data) {
  return element("p", {class: "legend"}, ...data.names.map((name, index) =>
    element("span", {}, element("i", {style: `background: ${colour(index)}`}), name)));
}

function makeTimeline(data, clock) {
  const total = data.duration_seconds;
  const percent = seconds => `${100 * seconds / total}%`;
  const tracks = element("div", {class: "tracks"});
  const track = (name, ...children) => {
    const made = element("div", {class: "track"}, ...children, element("span", {class: "name"}, name));
    tracks.append(made);
    return made;
  };
  track(data.said, probabilityChart(data));
  let heat = null, heatTrack = null;
  if (data.sound) {
    track("waveform", waveform(data));
    heatTrack = track("log-mel, 128 bins; coloured: attention rollout of the window",
      element("img", {src: "data:image/png;base64," + data.sound.log_mel_png, alt: "log-mel spectrogram"}));
    heat = element("canvas");
    heatTrack.append(heat);
  }
  const cursor = element("div", {class: "cursor"});
  const extent = element("div", {class: "window"});
  tracks.append(extent, cursor);
  tracks.addEventListener("click", event => {
    const box = tracks.getBoundingClientRect();
    clock.seek(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * total);
  });
  const step = [0.5, 1, 2, 5, 10, 30, 60, 300, 600].find(s => total / s <= 12) || 1800;
  const marks = [];
  for (let s = 0; s <= 0.93 * total; s += step) marks.push(element("span",
    {style: `position: absolute; left: ${percent(s)}`}, `${s}`));
  const seconds = element("div", {class: "seconds", style: "position: relative; height: 1.4em"}, ...marks,
    element("span", {style: "position: absolute; right: 0"}, "seconds"));
  return {
    element: element("div", {}, tracks, seconds),
    move: at => { cursor.style.left = percent(Math.min(at, total)); },
    heat(window) {
      extent.style.left = percent(window.start_seconds);
      extent.style.width = percent(window.end_seconds - window.start_seconds);
      if (!heat || !window.sound_relevance) return;
      const [columns, rows] = data.sound.grid;
      paint(heat, window.sound_relevance, columns, rows, (column, row) => column * rows + rows - 1 - row);
      heat.style.left = percent(window.start_seconds);
      heat.style.width = percent(data.sound.window_seconds);
      const padding = 1 - (window.end_seconds - window.start_seconds) / data.sound.window_seconds;
      heat.style.clipPath = `inset(0 ${100 * Math.max(0, padding)}% 0 0)`;
    },
  };
}

function probabilityChart(data) {
  const chart = drawn("svg", {viewBox: "0 0 1000 100", preserveAspectRatio: "none"});
  const all = data.windows.flatMap(w => w.values);
  const low = data.said === "probabilities" ? 0 : Math.min(...all);
  const high = data.said === "probabilities" ? 1 : Math.max(...all);
  const x = seconds => 1000 * seconds / data.duration_seconds;
  const y = value => 97 - 94 * (value - low) / (high - low || 1);
  for (const share of [0.25, 0.5, 0.75]) chart.append(drawn("line",
    {x1: 0, x2: 1000, y1: 100 * share, y2: 100 * share, stroke: "#e4e7eb", "vector-effect": "non-scaling-stroke"}));
  data.names.forEach((name, index) => {
    const middles = data.windows.map(w => [x((w.start_seconds + w.end_seconds) / 2), y(w.values[index])]);
    const first = [0, middles[0][1]], last = [1000, middles[middles.length - 1][1]];
    const points = [first, ...middles, last].map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
    chart.append(drawn("polyline", {points, fill: "none", stroke: colour(index), "stroke-width": 2,
      "vector-effect": "non-scaling-stroke"}));
  });
  return chart;
}

function waveform(data) {
  const peaks = data.sound.waveform;
  const loudest = Math.max(...peaks.map(([low, high]) => Math.max(-low, high)), 1e-3);
  const path = peaks.map(([low, high], i) => `M${i} ${50 - 48 * high / loudest}L${i} ${50.5 - 48 * low / loudest}`);
  const chart = drawn("svg", {viewBox: `0 0 ${peaks.length} 100`, preserveAspectRatio: "none"});
  chart.append(drawn("path", {d: path.join(""), stroke: "#4a5568", "vector-effect": "non-scaling-stroke"}));
  return chart;
}

// A grid of values 0 to 255 as a translucent heat map, one pixel each, smoothed when it is stretched.
function paint(canvas, values, columns, rows, indexOf) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const value = values[indexOf(column, row)];
    image.data.set([255, 60 + 160 * (1 - value / 255), 0, 160 * (value / 255) ** 1.5], 4 * (row * columns + column));
  }
  context.putImageData(image, 0, 0);
}

function faces(data, window) {
  const heading = element("h2", {}, "Where it looked and listened");
  const times = data.relevance_peak[windowAt(data, (window.start_seconds + window.end_seconds) / 2)];
  const peaks = Object.entries(times).map(([name, value]) => `${value.toFixed(1)} times the mean (${name})`);
  const note = element("p", {class: "note"}, "Attention rollout from what the head reads back to the patches. It says " +
    "where information can have come from, not for which class. Colours run from the least to the most read patch of " +
    `this window; the most read one has ${peaks.join(" and ")}.`);
  if (!data.face) return [heading, note];
  const [steps, rows, columns] = data.face.grid;
  const pictures = window.crops.map((jpeg, step) => {
    const canvas = element("canvas");
    paint(canvas, window.face_relevance, columns, rows, (column, row) => (step * rows + row) * columns + column);
    return element("span", {}, element("img", {src: "data:image/jpeg;base64," + jpeg, alt: "face"}), canvas);
  });
  return [heading, note, element("div", {class: "faces"}, ...pictures.slice(0, steps))];
}

function modalities(data) {
  if (!data.shown) return [];
  const titles = {both: "face and voice", video: "face alone", audio: "voice alone"};
  const head = element("tr", {}, element("th"),
    ...Object.keys(data.shown).map(name => element("th", {colspan: 2}, titles[name])));
  return [element("h2", {}, "Which modality"),
    element("p", {class: "note"}, "The same model and clip, shown both or one alone; the other's place is taken by " +
      "zeros: a mean grey picture, or a flat spectrogram."),
    element("div", {class: "bars"}, element("table", {}, head, ...valueRows(data, Object.values(data.shown))))];
}

function layers(data) {
  const place = element("div", {class: "layers"});
  const choice = element("select", {"aria-label": "output"}, ...data.names.map((name, index) =>
    element("option", {value: index}, name)));
  choice.value = groups(data)[0].indices.reduce((a, b) => data.whole[b] > data.whole[a] ? b : a);
  const draw = () => place.replaceChildren(weightTable(data), termTable(data, Number(choice.value)));
  choice.addEventListener("change", draw);
  draw();
  return [element("h2", {}, "Which layer"),
    element("p", {class: "note"}, "The head reads a learned mean over the blocks of each encoder, and what the fusion " +
      "encoder makes of the last ones. Left: the weight of each block. Right: the terms that add up to the output " +
      (data.said === "probabilities" ? "(logit), over the mean of the target's classes" : "before its activation") +
      ", averaged over the windows of the whole clip" +
      (data.said === "probabilities" ? " (its probabilities are averaged after the softmax)" : "") + ". They are exact, given the last norm's mean and deviation of this clip."),
    element("p", {}, "Output: ", choice), place];
}

function weightTable(data) {
  const rows = Object.entries(data.layer_weights).flatMap(([part, weights]) => weights.map((weight, index) =>
    element("tr", {}, element("td", {}, weights.length > 1 ? `${part}, block ${index + 1}` : part),
      element("td", {class: "number"}, weight.toFixed(3)), bar(weight / Math.max(...weights), "#777777"))));
  return element("div", {}, element("h3", {}, "Weights of the blocks"), element("table", {}, ...rows));
}

function termTable(data, output) {
  const terms = data.contributions[output];
  const largest = Math.max(...Object.values(terms).flat().map(Math.abs), 1e-9);
  const rows = Object.entries(terms).flatMap(([part, values]) => {
    const total = values.reduce((a, b) => a + b, 0);
    const line = (name, value, strong) => element("tr", {}, element("td", {}, strong ? element("b", {}, name) : name),
      element("td", {class: "number"}, strong ? element("b", {}, signed(value)) : signed(value)),
      bar(Math.abs(value) / Math.max(largest, Math.abs(total)), value < 0 ? "#D55E00" : "#0072B2"));
    return [line(part, total, true),
      ...(values.length > 1 ? values.map((value, index) => line(`block ${index + 1}`, value, false)) : [])];
  });
  return element("div", {}, element("h3", {}, `Terms of ${data.names[output]} (blue for, orange against)`),
    element("table", {}, ...rows));
}

const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
