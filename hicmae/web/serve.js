
// The page of `hicmae serve`: a video goes to the server, its prediction is drawn.

const limits = JSON.parse(document.getElementById("limits").textContent);
const part = name => document.getElementById(name);
let address = null;

function tell(text, isWrong = false) {
  part("state").textContent = text;
  part("state").className = isWrong ? "warning" : "";
  part("state").hidden = !text;
}

async function predict(file, name) {
  part("explanation").replaceChildren();
  part("name").hidden = true;
  if (file.size > limits.max_bytes) {
    tell(`${name} has ${(file.size / 1e6).toFixed(1)} MB; at most ${limits.max_bytes / 1e6} MB are taken.`, true);
    return;
  }
  tell(`Looking at ${name} …`);
  try {
    const response = await fetch("explain?name=" + encodeURIComponent(name),
      {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}});
    const data = await response.json();
    if (!response.ok) {
      tell(data.reason, true);
      return;
    }
    tell("");
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    part("name").textContent = name;
    part("name").hidden = false;
    show(data, data.picture && !data.pictures.length ? address : null, part("explanation"));
  } catch (error) {
    tell(`The server cannot be reached: ${error.message}`, true);
  }
}

part("file").addEventListener("change", () => {
  const [file] = part("file").files;
  if (file) predict(file, file.name);
});
for (const kind of ["dragenter", "dragover"]) part("drop").addEventListener(kind, event => {
  event.preventDefault();
  part("drop").classList.add("over");
});
for (const kind of ["dragleave", "drop"]) part("drop").addEventListener(kind, event => {
  event.preventDefault();
  part("drop").classList.remove("over");
});
part("drop").addEventListener("drop", event => {
  const [file] = event.dataTransfer.files;
  if (file) predict(file, file.name);
});

let recorder = null;
part("record").addEventListener("click", async () => {
  if (recorder) {
    recorder.stop();
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480}, audio: true});
  } catch (error) {
    tell(`No camera or microphone: ${error.message}`, true);
    return;
  }
  const pieces = [];
  const type = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"].find(t => MediaRecorder.isTypeSupported(t));
  recorder = new MediaRecorder(stream, {mimeType: type});
  recorder.ondataavailable = event => pieces.push(event.data);
  const end = setTimeout(() => recorder.stop(), 1000 * (limits.max_seconds - 1));
  recorder.onstop = () => {
    clearTimeout(end);
    stream.getTracks().forEach(track => track.stop());
    part("preview").hidden = true;
    part("record").textContent = "Record one";
    recorder = null;
    predict(new Blob(pieces, {type}), "recording." + (type.includes("webm") ? "webm" : "mp4"));
  };
  part("preview").srcObject = stream;
  part("preview").hidden = false;
  part("preview").play();
  part("record").textContent = "Stop and predict";
  tell(`Recording; at most ${limits.max_seconds} s.`);
  recorder.start();
});
