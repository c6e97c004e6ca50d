"""All that is asyncio's, trio's or anyio's own, side by side behind one interface."""
