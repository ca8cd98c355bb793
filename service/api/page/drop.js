// Files dragged onto the page: a dashed place takes them for its field; beside one nothing happens, where a browser
// would open the file in place of the page.
const placeOf = ({ target }) => target.closest?.(".drop");

function drag(event) {
  if (!event.dataTransfer.types.includes("Files")) return;  // text finds its way into fields by itself
  event.preventDefault();
  const place = placeOf(event);
  for (const one of document.querySelectorAll(".drop")) one.classList.toggle("over", one === place && event.type === "dragover");
  if (!place) event.dataTransfer.dropEffect = "none";
  if (event.type === "drop" && place) take(place.querySelector("input"), event.dataTransfer.files);
}

function take(field, files) {
  field.files = files;
  field.dispatchEvent(new Event("change"));
}

for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, drag);
