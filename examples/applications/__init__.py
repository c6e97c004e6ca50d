"""Complete applications, each in one file: a chat, a price ticker, a client that resumes."""
