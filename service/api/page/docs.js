// Shows the OpenAPI description as one section a call; no library, no request elsewhere.
const element = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};
const kind = (schema = {}) => schema.$ref?.split("/").pop() || schema.enum?.join(" | ") || schema.format || schema.type
  || (schema.anyOf || []).map(kind).join(" | ");
const table = (rows) => {
  const made = element("table");
  for (const row of rows) {
    const line = made.insertRow();
    for (const text of row) line.insertCell().textContent = text ?? "";
  }
  const wide = element("div", "", made);
  wide.className = "wide";
  return wide;
};

const description = await (await fetch("/openapi.json")).json();
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const section = element("section", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", call.description || ""));
    const form = call.requestBody?.content?.["multipart/form-data"]?.schema;
    const rows = (call.parameters || []).map((one) => [one.name, one.in, kind(one.schema), one.description || ""]);
    for (const [name, schema] of Object.entries(form?.properties || {})) rows.push([name, "form", kind(schema), schema.description || ""]);
    if (rows.length) section.append(table(rows));
    section.append(element("p", `Answers: ${Object.keys(call.responses).join(", ")}`));
    document.querySelector("#calls").append(section);
  }
}
for (const [name, schema] of Object.entries(description.components?.schemas || {})) {
  const rows = Object.entries(schema.properties || {}).map(([field, one]) => [field, kind(one), one.description || ""]);
  document.querySelector("#calls").append(element("section", "", element("h2", name), element("p", schema.description || ""), table(rows)));
}
