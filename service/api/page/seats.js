// How many pictures may be live. A browser opens six connections to a host at most, over all its windows, and a
// live picture holds one for good: the windows share a few seats, and of two that took the last one at the same
// moment the later window gives it back.
const MOST_LIVE = 4;
const REPEAT = 2000;
const FORGET = 5000;  // a window that has crashed says nothing any more
const me = performance.timeOrigin + Math.random();  // a later window has a higher number
const channel = new BroadcastChannel("live-pictures");
const others = new Map();
let taken = 0;

function heldBy(isMeant) {
  let sum = 0;
  for (const [other, { held, at }] of others) if (isMeant(other) && Date.now() - at < FORGET) sum += held;
  return sum;
}
export const isFree = () => taken + heldBy(() => true) < MOST_LIVE;
export const isTooMany = () => taken > 0 && taken + heldBy((other) => other < me) > MOST_LIVE;

const tell = (held) => channel.postMessage({ from: me, held });
export function hold(held) {
  taken = held;
  tell(held);
}

// `changed` is called when other windows hold more or fewer than before, or may have fallen silent.
export function shareSeats(changed) {
  channel.onmessage = ({ data: { from, held } }) => {
    const before = others.get(from);
    others.set(from, { held, at: Date.now() });
    if (!before) tell(taken);  // it has not heard of this window either
    if (before?.held !== held) changed();
  };
  setInterval(() => {
    if (taken) tell(taken);
    changed();
  }, REPEAT);
  window.addEventListener("pagehide", () => tell(0));
  tell(0);
}
