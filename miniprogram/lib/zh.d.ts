/** What to show the user for an error, in Chinese. */
export function inWords(error: { code?: string; message?: string; retryAfter?: number }): string

/** The words by code; assign to it to change some. */
export const words: Record<string, string>
