// In Node, where tests run, there is no daemon: testing.js has a double of it.

export const daemon = undefined;
