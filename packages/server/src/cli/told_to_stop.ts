/** Resolves when this process is told to stop. To be called before it says that it is ready: somebody may answer at once. */
export async function untilToldToStop(): Promise<void> {
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
}
