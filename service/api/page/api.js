// The calls of the service: the token, requests, sockets that come back after a break, the service's clock.
// Paths are the service's own links, or begin without a slash: a proxy may have put the page below another path.
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const PATIENCE = 15000;
const given = new URLSearchParams(location.search).get("token");
let token = sessionStorage.getItem("token") || "";
let skew = 0;
if (given) setToken(given);
if (location.search) history.replaceState(null, "", location.pathname);  // no token in the address bar

// Tokens are printable ASCII without spaces: anything else, as typographic quotes, came along by copying.
export function setToken(text) {
  token = text.replace(/[^\x21-\x7e]/g, "");
  sessionStorage.setItem("token", token);
}
export const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
export const withToken = (path) =>
  (token ? `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : path);

// Milliseconds as the service counts them: the clock of a phone may be minutes off.
export const now = () => Date.now() + skew;
function noteClock(answer) {
  const told = Date.parse(answer.headers.get("Date")) + 500 - Date.now();
  if (Math.abs(told - skew) > 1500) skew = told;
}

// Problem details (RFC 9457) in words.
export function words(problem, status) {
  const mistakes = (problem.errors || []).map(({ where, what }) => `${where.split(".").pop()}: ${what}`);
  return mistakes.join("; ") || problem.detail || problem.title || `the service answered ${status}`;
}

export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    document.dispatchEvent(new Event("unreachable"));
    throw new Error("the service cannot be reached");
  }
  noteClock(answer);
  if (answer.status === 401) document.dispatchEvent(new Event("locked"));
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(words(problem, answer.status)), { status: answer.status });
  }
  return answer.status === 204 ? null : answer.json();
}

// What is asked again and again: on a connection that died unseen the answer would never come, nor the next question.
export const ask = (path) => call(path, { signal: AbortSignal.timeout(PATIENCE), priority: "high" });

export const send = (method, path, body) =>
  call(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

// A WebSocket that is opened again, after growing waits, until the function that is returned is called.
// `path` is asked for anew each time; `hear` gets each message, `stand` whether it is open. Where a call finds nobody
// it is given up too: nothing tells a browser of a network that has gone.
export function connect(path, hear, stand = () => {}) {
  let wait = FIRST_WAIT;
  let socket;
  let timer;
  const open = () => {
    const address = new URL(withToken(path()), location);
    address.protocol = address.protocol.replace("http", "ws");
    socket = new WebSocket(address.href);
    timer = setTimeout(giveUp, LONGEST_WAIT);
    socket.onopen = () => { clearTimeout(timer); stand(true); };
    socket.onmessage = ({ data }) => { wait = FIRST_WAIT; hear(JSON.parse(data)); };
    socket.onclose = lose;
  };
  const lose = () => {
    clearTimeout(timer);
    stand(false);
    timer = setTimeout(open, wait * (0.75 + Math.random() / 2));  // not all pages at the same moment
    wait = Math.min(2 * wait, LONGEST_WAIT);
  };
  const leave = () => {
    socket.onclose = socket.onmessage = socket.onopen = null;
    socket.close();
  };
  const giveUp = () => {
    if (socket.readyState > WebSocket.OPEN) return;
    leave();
    lose();
  };
  document.addEventListener("unreachable", giveUp);
  open();
  return () => {
    document.removeEventListener("unreachable", giveUp);
    clearTimeout(timer);
    leave();
  };
}
