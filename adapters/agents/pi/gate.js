// Loaded by pi; what it is for is told in gate.py.
const title = "moorage-gate";
const turnsMax = Number(process.env.MOORAGE_PI_TURNS_MAX || 0);
const asksResults = process.env.MOORAGE_PI_ASK_RESULTS === "1";

async function ask(ctx, question) {
  const answer = await ctx.ui.input(title, JSON.stringify(question), { signal: ctx.signal });
  return answer === undefined ? undefined : JSON.parse(answer);
}

export default function (pi) {
  let turns = 0;
  pi.on("tool_call", async (event, ctx) => {
    const { toolCallId, toolName, input } = event;
    const answer = await ask(ctx, { about: "call", toolCallId, toolName, input });
    if (!answer || answer.allow !== true) {
      return { block: true, reason: (answer && answer.reason) || "not allowed" };
    }
    if (answer.input) {
      for (const key of Object.keys(input)) delete input[key];
      Object.assign(input, answer.input);
    }
  });
  if (asksResults) {
    pi.on("tool_result", async (event, ctx) => {
      const { toolCallId, toolName, input, content, isError } = event;
      const question = { about: "result", toolCallId, toolName, input, content, isError };
      const answer = await ask(ctx, question);
      if (answer && answer.content) return { content: answer.content };
    });
  }
  pi.on("turn_end", async (event, ctx) => {
    turns += 1;
    if (turnsMax > 0 && turns >= turnsMax && event.toolResults.length > 0) ctx.abort();
  });
}
