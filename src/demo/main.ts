/** The page at `/`. */
export {};
