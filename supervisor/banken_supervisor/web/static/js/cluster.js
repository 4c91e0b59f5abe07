// A supervisor's cluster, in words.

export function clusterWords(found) {
  const silent = Object.entries(found.members).filter(([, up]) => !up).map(([name]) => name).sort();
  const who = found.leader === null ? "nobody leads" : found.leader === found.member ? "this member leads" : `${found.leader} leads`;
  const braked = found.brake !== null;
  const more = (silent.length ? `, ${silent.join(", ")} down` : "") + (braked ? ", the brake is on" : "");
  const store = found.away?.startsWith("it refuses: ") ? "refuses this member" : "does not answer";
  return {
    text: `cluster ${found.name}: ${found.away === null ? who + more : `its store ${store}`}`,
    bad: found.away !== null || found.leader === null || silent.length > 0 || braked,
    title: found.away ?? `This is ${found.member}; the store answers within ${Math.max(1, Math.round(found.seconds * 1000))} ms`,
  };
}
