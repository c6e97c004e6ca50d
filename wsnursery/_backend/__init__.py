"""The code that is specific to asyncio, trio or anyio, side by side behind one interface."""
